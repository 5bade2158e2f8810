package size

import rego.v1

deny contains "huge is for nobody" if input.inputs.size == "huge"
