"""CEL, as Bondstone speaks it: the one package that touches `cel-expr-python`.

What was found out about the library (0.1.3), and what is done about it:

- A variable may have a dotted name, and the longest declared name wins. `steps.my-db.outputs.x` reads as a
  subtraction and `inputs.in` as an operator, unless such a name is quoted with backticks: done here, unseen.
- Errors of evaluation come back as a value of type ERROR whose text may repeat values: only known, value-free
  words are passed on.
- Wrapper types (`google.protobuf.StringValue`) are right for the checker (text or null) but evaluation refuses
  Python values for them: so the checker uses them, and evaluation declares what is referenced as DYN.
- `has(inputs.size)` on a dotted variable returns the variable's value, not a bool: refused in words.
- Maps come back in no order: keys are sorted. Integers are 64 bits. Evaluation stops after 10,000 iterations.
- Compiling costs 45 µs and an environment 30 µs: both are cached by expression and the names it uses.
"""

from __future__ import annotations

from bondstone.cel.environment import MAX_SIZE
from bondstone.cel.evaluation import Variables, evaluate, references
from bondstone.cel.scope import Compiled, VariableScope
from bondstone.cel.syntax import MAX_EXPRESSION, ROOTS, tokens
from bondstone.cel.words import Fault

__all__ = [
    "MAX_EXPRESSION",
    "MAX_SIZE",
    "ROOTS",
    "Compiled",
    "Fault",
    "VariableScope",
    "Variables",
    "evaluate",
    "references",
    "tokens",
]
