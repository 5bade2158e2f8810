"""Services and their operations: what the entity workflow carries, answers and accepts."""

from __future__ import annotations

from bondstone.model.service.calls import (
    AbandonCall,
    BindCall,
    CancelCall,
    LabelsCall,
    PartChanged,
    PauseCall,
    VoteCall,
)
from bondstone.model.service.kinds import (
    Health,
    OperationKind,
    OperationStatus,
    Phase,
    RevisionRef,
    ServiceId,
    StepStatus,
)
from bondstone.model.service.operations import (
    Approval,
    Need,
    OperationInput,
    OperationRecord,
    OperationResult,
    PendingOperation,
    Vote,
)
from bondstone.model.service.requests import (
    Accepted,
    Conditional,
    Dependant,
    KeptManifest,
    Options,
    Request,
    Resolution,
    ResolveCall,
    Resolved,
    request_digest,
)
from bondstone.model.service.state import (
    RUN_VERSION,
    ServiceState,
    Submission,
    state_digest,
)
from bondstone.model.service.steps import (
    DayTwo,
    StepOutputs,
    StepRecord,
    StepSpec,
)

__all__ = [
    "RUN_VERSION",
    "AbandonCall",
    "Accepted",
    "Approval",
    "BindCall",
    "CancelCall",
    "Conditional",
    "DayTwo",
    "Dependant",
    "Health",
    "KeptManifest",
    "LabelsCall",
    "Need",
    "OperationInput",
    "OperationKind",
    "OperationRecord",
    "OperationResult",
    "OperationStatus",
    "Options",
    "PartChanged",
    "PauseCall",
    "PendingOperation",
    "Phase",
    "Request",
    "Resolution",
    "ResolveCall",
    "Resolved",
    "RevisionRef",
    "ServiceId",
    "ServiceState",
    "StepOutputs",
    "StepRecord",
    "StepSpec",
    "StepStatus",
    "Submission",
    "Vote",
    "VoteCall",
    "request_digest",
    "state_digest",
]
