"""What came of a call, in a form that files keep."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from arriero.tools import ApprovalRequired, Artifact, ToolError, ToolFailed, ToolResult


class _Artifact(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    name: str
    mime: str
    data: bytes


class Outcome(BaseModel):
    """What came of a call, as it is kept: the tool's result, or what it raised. ``nothing`` has been done where the
    tool wanted an approval first.
    """

    kind: Literal["result", "error", "final", "nothing"] = "result"
    content: str = ""
    error: bool = False
    artifacts: tuple[_Artifact, ...] = ()

    @classmethod
    def of(cls, result: ToolResult) -> "Outcome":
        kept = (_Artifact(name=one.name, mime=one.mime, data=one.data) for one in result.artifacts)
        return cls(content=result.content, error=result.error, artifacts=tuple(kept))

    @classmethod
    def raised(cls, error: Exception) -> "Outcome":
        if isinstance(error, ApprovalRequired):
            return cls(kind="nothing")
        if isinstance(error, ToolError):
            return cls(kind="final" if isinstance(error, ToolFailed) else "error", content=str(error))
        return cls(kind="error", content=f"{type(error).__name__}: {error}")

    def again(self) -> ToolResult:
        """The result again, or the ToolError that the model was told of."""
        if self.kind != "result":
            raise (ToolFailed if self.kind == "final" else ToolError)(self.content)
        artifacts = (Artifact(one.name, one.mime, one.data) for one in self.artifacts)
        return ToolResult(self.content, tuple(artifacts), self.error)
