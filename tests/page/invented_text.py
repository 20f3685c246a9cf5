"""The words of the invented model page: what stands beside the figures."""

from typing import Any

CAPABILITIES = [
    {
        "name": "tools",
        "source": "catalogue or gateway.yaml: 9 of 9 endpoints; litellm 1.110.2: 5 of the 6 that it lists",
    },
    {"name": "reasoning", "source": "catalogue"},
    {"name": "json_schema", "source": "catalogue or gateway.yaml: 7 of 9 endpoints"},
    {"name": "prompt caching", "source": "litellm's map"},
    {"name": "streaming", "source": "probe of 2026-11-29"},
]


ABOUT: dict[str, Any] = {
    "profile": "<p>DeepSeek V3.2 is a mixture-of-experts model of 685 billion parameters, 37 billion of them active "
    "for each token. Sparse attention keeps long prompts cheap.</p>"
    '<p>The weights are open; see the <a href="https://example.org/card">model card</a>. The alias '
    "<code>deepseek-reasoner</code> switches reasoning on.</p>",
    "shines": "<ul><li>Code review and edits in long files</li><li>Tool calls in agents, at a low price</li>"
    "<li>Maths with reasoning</li></ul>",
    "limits": "<ul><li>Text only: no images</li>"
    "<li>Hosts differ in precision: fp4 makes more errors in tool calls</li></ul>",
    "questions": [
        {
            "q": "Why do hosts of one model differ?",
            "a": "<p>They run it at other precisions, on other machines, with other limits of context and output.</p>",
        },
        {
            "q": "What is prompt caching?",
            "a": "<p>A host that has read the start of a prompt before bills it at a lower price.</p>",
        },
    ],
}

_SOURCE = {"url": "https://example.org/scores", "date": "2026-10-30"}
SCORES = [
    {
        "name": "SWE-bench Verified",
        "score": 73.1,
        "unit": "%",
        "source": "model card",
        "percentile": 0.86,
        "of": 41,
        **_SOURCE,
    },
    {"name": "AIME 2025", "score": 93.1, "unit": "%", "source": "model card", "percentile": 0.9, "of": 38, **_SOURCE},
    {
        "name": "GPQA Diamond",
        "score": 82.4,
        "unit": "%",
        "source": "model card",
        "percentile": 0.78,
        "of": 44,
        **_SOURCE,
    },
    {
        "name": "Terminal-Bench 2",
        "score": 46.4,
        "unit": "%",
        "source": "model card",
        "percentile": 0.71,
        "of": 29,
        **_SOURCE,
    },
]

WORDS = {"1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days", "30d": "the last 30 days"}


def verdict(span: str, requests: int, succeeded: float, price: float) -> list[str]:
    return [
        f"{requests:,} requests in {WORDS[span]}: {succeeded:.2%} got an answer, 1.2 % of them after a failover.",
        f"A million tokens cost ${price:.3f}, 10 % less than before; fireworks/bf16 is fastest at 118 tok/s.",
        "parasail/fp8 is set back: HTTP 503 in 6 of its last 10 attempts.",
    ]
