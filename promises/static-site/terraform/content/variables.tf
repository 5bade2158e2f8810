variable "team" {
  description = "The team that owns the site."
  type        = string
}

variable "name" {
  description = "Name of the site within the team."
  type        = string
}

variable "title" {
  description = "What stands at the top of every page."
  type        = string
}

variable "intro" {
  description = "First paragraph of the front page."
  type        = string
  default     = ""
}

variable "theme" {
  description = "light, dark or high-contrast."
  type        = string
  default     = "light"
}

variable "accent" {
  description = "Colour of links and headings, as in #2457a6."
  type        = string
  default     = "#2457a6"
}

variable "pages" {
  description = "Further pages."
  type = list(object({
    slug  = string
    title = string
    text  = optional(string, "")
  }))
  default = []
}

variable "not_found_page" {
  description = "Whether there is a 404.html."
  type        = bool
  default     = true
}

variable "services_dir" {
  description = "Directory below which services live. The platform sets TF_VAR_services_dir."
  type        = string
  default     = "~/bondstone-services"
}
