variable "marker" { type = string }
variable "left" { type = string }
variable "right" { type = string }
variable "python" { type = string }
variable "fails" { type = string }

# On purpose not declared sensitive: the platform knows that they are.
variable "text" { type = string }
variable "pem" { type = string }
variable "number" { type = number }
variable "list" { type = list(string) }
variable "map" { type = map(string) }
variable "token" { type = string }

locals {
  # Secrets that nobody but Terraform knows before they are made.
  own = "${var.left}${var.right}"
  say = <<-PY
    import base64, json, os, sys, urllib.parse
    for name in ("TEXT", "PEM", "LIST", "TOKEN", "MADE", "CANARY_ONE", "CANARY_PEM"):
        value = os.environ.get(name, "")
        data = value.encode()
        forms = [value, value.upper(), value.lower(), json.dumps(value), json.dumps(json.dumps(value)), repr(value),
                 data.hex(), data.hex().upper(), data.hex(":"), urllib.parse.quote(value, safe=""),
                 "".join("%%%02X" % byte for byte in data), base64.urlsafe_b64encode(data).decode()]
        forms += [base64.b64encode(b"x" * offset + data + b"y").decode() for offset in range(3)]
        for form in forms:
            print("said", os.environ["MARKER"], form, flush=True)
            print("complained", os.environ["MARKER"], form, file=sys.stderr, flush=True)
    sys.exit(os.environ["FAILS"] == "terraform")
  PY
}

resource "terraform_data" "holder" {
  input = { marker = var.marker, text = var.text, list = var.list, map = var.map, number = var.number, pem = var.pem }
}

resource "terraform_data" "made" {
  input = sensitive({ text = "${local.own}made", object = { member = "${local.own}member" }, list = ["${local.own}item"] })
}

resource "terraform_data" "talker" {
  input = var.marker

  provisioner "local-exec" {
    command     = local.say
    interpreter = [var.python, "-c"]
    environment = {
      MARKER = var.marker
      FAILS  = var.fails
      TEXT   = var.text
      PEM    = var.pem
      LIST   = join(" ", var.list)
      TOKEN  = var.token
      MADE   = nonsensitive(terraform_data.made.output.text)
    }
  }
}

output "marker" { value = var.marker }
output "plain" { value = var.text }
output "word" { value = var.token }
output "inside" { value = "before ${var.token} behind" }
output "base64" { value = base64encode("a${var.text}b") }
output "base64_url" { value = replace(replace(base64encode("ab${var.token}"), "+", "-"), "/", "_") }
output "percent" { value = urlencode(var.text) }
output "loud" { value = upper(var.text) }
output "json" { value = jsonencode({ auth = jsonencode({ token = var.text }) }) }
output "line" { value = split("\n", var.pem)[1] }
output "number" { value = var.number }
output "digits" { value = "n${var.number}" }
output "members" { value = { deep = [{ inner = var.list[0], also = var.map["one"] }] } }
output "names" { value = { (var.token) = "a name" } }
output "own" {
  value     = terraform_data.made.output.text
  sensitive = true
}
output "made" {
  value     = terraform_data.made.output.text
  sensitive = true
}
output "object" {
  value     = terraform_data.made.output.object
  sensitive = true
}
output "listed" {
  value     = terraform_data.made.output.list
  sensitive = true
}
# A sensitive output's value once more, where nothing says that it is one.
output "repeated" { value = nonsensitive("again ${terraform_data.made.output.text}") }
