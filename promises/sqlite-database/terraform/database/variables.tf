variable "team" {
  description = "The team that owns the database."
  type        = string
}

variable "name" {
  description = "Name of the database within the team."
  type        = string
}

variable "size" {
  description = "How large it may grow: small, medium or large."
  type        = string
  default     = "small"

  validation {
    condition     = contains(["small", "medium", "large"], var.size)
    error_message = "The size is small, medium or large."
  }
}

variable "starter" {
  description = "Tables to begin with: none, key-value or tasks."
  type        = string
  default     = "none"
}

variable "journal" {
  description = "SQLite's journal mode: wal or delete."
  type        = string
  default     = "wal"
}

variable "contact" {
  description = "Mail address of somebody who answers for the database."
  type        = string
}

variable "admin_password" {
  description = "Password of the first account; null for a random one."
  type        = string
  default     = null
  sensitive   = true
}

variable "services_dir" {
  description = "Directory below which services live. The platform sets TF_VAR_services_dir."
  type        = string
  default     = "~/bondstone-services"
}
