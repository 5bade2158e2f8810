package size

import rego.v1

deny contains "large is for nobody" if input.inputs.size == "large"

warn contains "medium is rather much" if input.inputs.size == "medium"
