"""The JSON schema of task files, which editors complete and check by.

``task.v1.json`` beside this module is what is published; it is written by ``arriero schema task``.
"""

import json
from importlib import resources

from .spec import TaskSpec

SCHEMA_FILE = "task.v1.json"


def schema_text() -> str:
    """The schema as JSON, made from the classes that read the files."""
    schema = TaskSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "arriero task, version 1"
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def published_text() -> str:
    """The schema as it was published with this version."""
    return (resources.files(__package__) / SCHEMA_FILE).read_text("utf-8")
