"""DeepSeek's tool-call markup, written by tests."""

BAR = "｜"


def tag(kind: str, bar: str = BAR, /, **attributes: str) -> str:
    return f"<{bar}DSML{bar}{kind}" + "".join(f' {key}="{value}"' for key, value in attributes.items()) + ">"


def end(name: str, bar: str = BAR) -> str:
    return f"</{bar}DSML{bar}{name}>"


def parameter(name: str, value: str, is_text: bool = True, bar: str = BAR) -> str:
    return f"{tag('parameter', bar, name=name, string=str(is_text).lower())}{value}{end('parameter', bar)}"


def invoke(name: str, *inside: str, bar: str = BAR) -> str:
    return "\n".join((tag("invoke", bar, name=name), *inside, end("invoke", bar)))


def block(*invokes: str, name: str = "function_calls", bar: str = BAR) -> str:
    return "\n".join((tag(name, bar), *invokes, end(name, bar)))


WEATHER = block(invoke("weather", parameter("city", "Paris"), parameter("days", "3", is_text=False)))
WEATHER_ARGUMENTS = '{"city": "Paris", "days": 3}'
