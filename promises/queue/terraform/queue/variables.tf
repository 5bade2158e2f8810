variable "team" {
  description = "The team that owns the queue."
  type        = string
}

variable "name" {
  description = "Name of the queue within the team."
  type        = string
}

variable "max_messages" {
  description = "Most messages that may wait."
  type        = number
}

variable "max_message_bytes" {
  description = "Most bytes of one message."
  type        = number
}

variable "retention" {
  description = "How long an unread message is kept: 1h, 1d, 7d or 30d."
  type        = string

  validation {
    condition     = contains(["1h", "1d", "7d", "30d"], var.retention)
    error_message = "The retention is 1h, 1d, 7d or 30d."
  }
}

variable "max_deliveries" {
  description = "A message that was given back so often is dead."
  type        = number
  default     = 5
}

variable "services_dir" {
  description = "Directory below which services live. The platform sets TF_VAR_services_dir."
  type        = string
  default     = "~/bondstone-services"
}
