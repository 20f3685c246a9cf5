"""The real clients that are tested: their pins, and the command that starts a script which uses one."""

import shutil
from pathlib import Path

from tests.clients.environments import node_modules_with, python_with
from tests.support.programs import needs

PINS = {
    "openai-python": ("openai==3.54.0",),
    "openai-node": ("openai@6.49.0",),
    "anthropic": ("anthropic==2.12.0",),
    "openrouter": ("openrouter==1.3.84",),
    "openrouter-node": ("@openrouter/sdk@1.3.19",),
    "codex": ("@openai/codex@0.171.0",),
    "claude-code": ("@anthropic-ai/claude-code@2.1.332",),
    "ai-sdk-openai": ("@ai-sdk/openai@3.0.141", "ai@6.0.326"),
    "ai-sdk": ("@openrouter/ai-sdk-provider@2.10.0", "ai@6.0.326"),
    "langchain": ("langchain-openai==1.7.3",),
    "langchain-openrouter": ("langchain-openrouter==0.2.9",),
    "pydantic-ai": ("pydantic-ai-slim[openai,openrouter]==2.68.0",),
}
HERE = Path(__file__).parent


def command_of(sdk: str, script: str) -> list[str]:
    """The start of a command, ready for the script's arguments. Makes the environment where there is none yet."""
    if not script.endswith(".mjs"):
        return [str(python_with(sdk, *PINS[sdk])), str(HERE / script)]
    node = needs("node")
    needs("npm")
    folder = node_modules_with(sdk, *PINS[sdk])
    return [node, shutil.copy(HERE / script, folder)]  # node looks for packages beside the script
