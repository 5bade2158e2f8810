"""What a promise's author is told of a Terraform step when the promise is published."""

from __future__ import annotations

import pytest

from bondstone.activities.terraform import TerraformExecutor
from bondstone.activities.terraform.module_files import without_nulls
from bondstone.activities.terraform.section import TerraformSection

MODULE = """
variable "size" {
  type        = string
  description = <<-EOT
    How large: ${"small"} or large
  EOT
}
variable "engine" { default = null }
output "endpoint" { value = "db.example.com" }
output "password" {
  value     = var.size
  sensitive = true
}
"""


@pytest.fixture
def promise(tmp_path):
    module = tmp_path / "terraform" / "database"
    module.mkdir(parents=True)
    (module / "main.tf").write_text(MODULE)
    return tmp_path


def check(promise, module="terraform/database", **section):
    return TerraformExecutor().check(TerraformSection(module=module, **section), promise)


def keys(report):
    return [(path, problem.message, problem.hint) for path, problem in report.keys]


def test_a_good_section_tells_its_outputs(promise):
    report = check(promise, variables={"size": "${inputs.size}"})
    assert (list(report.problems), list(report.keys)) == ([], [])
    assert report.outputs == {"endpoint": "dyn", "password": "dyn"}
    assert report.sensitive == {"password"}


def test_an_unknown_variable_is_named_with_what_was_meant(promise):
    ((path, message, hint),) = keys(check(promise, variables={"size": "x", "engin": "y"}))
    assert path == ("variables", "engin")
    assert "no variable 'engin'" in message
    assert hint == "did you mean 'engine'?"


def test_a_required_variable_that_is_not_passed_is_named(promise):
    ((path, message, _),) = keys(check(promise))
    assert path == ()
    assert "'size'" in message
    ((path, *_),) = keys(check(promise, variables={"engine": "x"}))
    assert path == ("variables",)


@pytest.mark.parametrize(
    ("module", "message", "hint"),
    [
        ("terraform/databse", "no directory", "did you mean 'terraform/database'?"),
        ("../other", "stay inside it", ""),
        ("/etc", "stay inside it", ""),
        ("terraform/${inputs.size}", "must not be an expression", "use two steps with `when`"),
        ("terraform", "no *.tf file", "a module needs one"),
    ],
)
def test_a_module_that_cannot_be_is_said_at_its_key(promise, module, message, hint):
    ((path, text, suggested),) = keys(check(promise, module=module))
    assert path == ("module",)
    assert message in text
    assert suggested == hint


def test_a_backend_of_its_own_is_there_and_tells_services_apart(promise):
    how = {"variables": {"size": "x"}, "backend": "own"}
    apart = {"key": "${service.team}/${service.name}.tfstate"}
    ((path, message, _),) = keys(check(promise, **how, backend_config={"bucket": "states"}))
    assert (path, "the same state" in message) == (("backend",), True)
    ((path, message, _),) = keys(check(promise, **how, backend_config=apart))
    assert (path, "has no backend block" in message) == (("backend",), True)
    settings = promise / "terraform" / "database" / "settings.tf"
    settings.write_text('terraform {\n  backend "s3" {}\n}\n')
    assert keys(check(promise, **how, backend_config=apart)) == []
    settings.write_text("terraform {\n  cloud {}\n}\n")
    ((path, message, _),) = keys(check(promise, **how, backend_config=apart))
    assert (path, "runs Terraform elsewhere" in message) == (("backend",), True)


def test_a_backend_configuration_without_a_backend_of_its_own_has_no_use(promise):
    ((path, _, hint),) = keys(check(promise, variables={"size": "x"}, backend_config={"key": "x"}))
    assert (path, hint) == (("backend_config",), "say `backend: own` too")


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ('variable "x" {\n  type = string\n  default "3"\n}\n', 3, 14, "Invalid block definition"),
        ('output "x" {\n  value = }\n', 2, 11, "Invalid expression"),
        ('variable "x" {\n', 1, 14, "Unclosed configuration block"),
    ],
)
def test_hcl_that_does_not_parse_has_file_line_and_column(promise, text, line, column, says):
    (promise / "terraform/database/bad.tf").write_text(text)
    report = check(promise, variables={"size": "x"})
    (problem,) = report.problems
    assert (problem.file, problem.line, problem.column) == ("terraform/database/bad.tf", line, column)
    assert says in problem.message
    assert list(report.keys) == [], "what the module declares is not known then"


def test_json_modules_count_too(promise):
    (promise / "terraform/database/more.tf.json").write_text(
        '{"variable": {"zone": {"default": "a"}, "tier": {}}, "output": {"x": {"value": 1, "sensitive": true}}}'
    )
    report = check(promise, variables={"size": "x", "zone": "b"})
    assert report.sensitive == {"password", "x"}
    ((_, message, _),) = keys(report)
    assert "'tier'" in message
    (promise / "terraform/database/more.tf.json").write_text("{\n oops}")
    (problem,) = check(promise, variables={"size": "x"}).problems
    assert (problem.file, problem.line) == ("terraform/database/more.tf.json", 2)


def test_an_ephemeral_variable_cannot_be_kept_in_a_plan(promise):
    (promise / "terraform/database/token.tf").write_text('variable "token" {\n  ephemeral = true\n}\n')
    report = check(promise, variables={"size": "x", "token": "y"})
    assert "ephemeral" in keys(report)[0][1]


# What Terraform takes, whatever it looks like. Each of these was refused once.


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("main_override.tf", 'variable "size" {\n  default = "small"\n}\n'),
        ("override.tf.json", '{"variable": {"size": {"default": "small"}}}'),
        ("bom.tf", '\ufeffvariable "zone" {\n  default = "a"\n}\n'),
        ("bom.tf.json", '\ufeff{"variable": {"zone": {"default": "a"}}}'),
        ("unicode.tf", 'locals {\n  größe = "x"\n}\noutput "größe" {\n  value = local.größe\n}\n'),
        ("values.auto.tfvars", 'size = "small"\n'),
        ("terraform.tfvars.json", '{"size": "small"}'),
        ("for.tf", "locals {\n  a = { for x in [1] : x => x... }\n}\n"),
        ("crlf.tf", 'variable "zone" {\r\n  default = "a"\r\n}\r\n'),
        ("heredoc.tf", "locals {\n  a = <<-E\n  x %{ if true }y%{ endif ~}\n  E\n}\n"),
        ("mod.tf", "removed {\n  from = a.b\n  lifecycle {\n    destroy = false\n  }\n}\n"),
        ("main.tftest.hcl", 'run "plans" {\n  command = plan\n}\n'),
    ],
)
def test_a_valid_module_is_taken(promise, file, text):
    (promise / "terraform/database" / file).write_bytes(text.encode())
    inputs = {} if "size" in text else {"size": "x"}
    report = check(promise, variables=inputs)
    assert (list(report.problems), list(report.keys)) == ([], [])


def test_true_may_be_written_as_text(promise):
    (promise / "terraform/database/more.tf").write_text('output "token" {\n  value = 1\n  sensitive = "true"\n}\n')
    assert check(promise, variables={"size": "x"}).sensitive == {"password", "token"}
    (promise / "terraform/database/main_override.tf").write_text('output "endpoint" {\n  sensitive = true\n}\n')
    assert check(promise, variables={"size": "x"}).sensitive == {"password", "token", "endpoint"}


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("main.tftest.hcl", 'run "plans" {\n  command = \n}\n', "Invalid expression"),
        ("tests/main.tftest.hcl", "runn {}\n", "has no block 'runn'"),
        ("values.auto.tfvars", "size = \n", "Invalid expression"),
        ("again.tf", 'variable "size" {}\n', "declared twice"),
    ],
)
def test_what_would_stop_terraform_at_every_service_is_found_at_publish(promise, file, text, says):
    path = promise / "terraform/database" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (problem,) = check(promise, variables={"size": "x"}).problems
    assert says in problem.message
    assert problem.file.startswith("terraform/database/")


def test_null_leaves_a_variable_to_its_default(promise):
    module = promise / "terraform/database"
    (module / "values.auto.tfvars").write_text('zone = "a"\n')
    (module / "zone.tf").write_text('variable "zone" {}\nvariable "tier" {}\n')
    inputs = {"size": "x", "engine": None, "zone": None, "tier": None}
    assert without_nulls(inputs, promise, "terraform/database") == {"size": "x", "tier": None}
