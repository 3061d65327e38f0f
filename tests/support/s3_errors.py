"""S3's error answers: code, HTTP status, usual text."""

from xml.sax.saxutils import escape

USUAL = {
    400: ("InvalidRequest", "The request is not valid."),
    403: ("AccessDenied", "Access Denied"),
    404: ("NoSuchKey", "The specified key does not exist."),
    405: ("MethodNotAllowed", "The specified method is not allowed against this resource."),
    409: ("OperationAborted", "A conflicting conditional operation is currently in progress against this resource."),
    412: ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    416: ("InvalidRange", "The requested range is not satisfiable"),
    500: ("InternalError", "We encountered an internal error. Please try again."),
    501: ("NotImplemented", "A header you provided implies functionality that is not implemented"),
    503: ("SlowDown", "Please reduce your request rate."),
}


class S3Error(Exception):
    """An answer that is an error. `details` become further elements of the XML body."""

    def __init__(
        self,
        status: int,
        code: str | None = None,
        message: str | None = None,
        headers: list[tuple[str, str]] | None = None,
        **details: str,
    ) -> None:
        usual_code, usual_message = USUAL.get(status, ("InternalError", "Something went wrong"))
        self.status = status
        self.code = code or usual_code
        self.message = message or (usual_message if code in (None, usual_code) else self.code)
        self.headers = headers or []
        self.details = details
        super().__init__(f"{status} {self.code}")

    def body(self) -> bytes:
        elements = {"Code": self.code, "Message": self.message, **self.details, "RequestId": "STANDIN0000001"}
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
