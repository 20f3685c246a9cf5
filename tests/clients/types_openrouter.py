"""Answers on stdin, as `specs.py` gives them, held against the types of OpenRouter's SDK."""

from openrouter import components, errors, operations
from types_held import hold

KINDS = {
    ("/chat/completions", False): components.ChatResult,
    ("/chat/completions", True): components.ChatStreamChunk,
    ("/responses", False): components.OpenResponsesResult,
    ("/responses", True): components.StreamEvents,
    ("/messages", False): components.BodyMessage,
    ("/models", False): components.ModelsListResponse,
    ("/models/count", False): components.ModelsCountResponse,
    ("/models/{author}/{slug}/endpoints", False): operations.ListEndpointsResponse,
    ("/endpoints/zdr", False): operations.ListEndpointsZdrResponse,
    ("/providers", False): operations.ListProvidersResponse,
    ("/key", False): operations.GetCurrentKeyResponse,
    ("/credits", False): operations.GetCreditsResponse,
    ("/activity", False): components.ActivityResponse,
    ("/generation", False): components.GenerationResponse,
}
ERRORS = {
    400: errors.BadRequestResponseErrorData,
    401: errors.UnauthorizedResponseErrorData,
    403: errors.ForbiddenResponseErrorData,
    404: errors.NotFoundResponseErrorData,
    413: errors.PayloadTooLargeResponseErrorData,
    422: errors.UnprocessableEntityResponseErrorData,
    429: errors.TooManyRequestsResponseErrorData,
    500: errors.InternalServerResponseErrorData,
    502: errors.BadGatewayResponseErrorData,
    503: errors.ServiceUnavailableResponseErrorData,
    524: errors.EdgeNetworkTimeoutResponseErrorData,
}


def kind(answer):
    _, base, path, _, status, event, _ = answer
    if base != "/api/v1" or (path == "/messages" and status != 200):
        return None
    return KINDS.get((path, event)) if status == 200 else ERRORS[status]


hold(kind, strict=False)
