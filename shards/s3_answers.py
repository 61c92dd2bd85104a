"""What a server of S3 and boto3 say when a request fails, and what a person is advised to do then."""

from __future__ import annotations

from botocore import exceptions as boto

BROKEN = (boto.ReadTimeoutError, boto.ResponseStreamingError, boto.IncompleteReadError, ConnectionError)
_UNREACHABLE = (boto.HTTPClientError, boto.EndpointConnectionError, *BROKEN)
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
)
NO_OBJECT = frozenset({"NoSuchKey", "404"})
NO_UPLOAD = "NoSuchUpload"
TAKEN = frozenset({"PreconditionFailed", "412"})
CONFLICT = frozenset({"ConditionalRequestConflict", "409"})
BEYOND = frozenset({"InvalidRange", "416"})
_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429"})
CHECKSUMS = frozenset(
    {"ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256"}
)
_ADVICE = {
    "InvalidAccessKeyId": "does not know the access key; check AWS_ACCESS_KEY_ID",
    "InvalidClientTokenId": "does not know the access key; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "does not take the secret key; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "says that the credentials have expired; renew them",
    "InvalidToken": "does not take the session's token; check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "has another time than this machine; set its clock",
    "AuthorizationHeaderMalformed": "expects another region; set AWS_REGION to the bucket's",
    "PermanentRedirect": "says that the bucket lies elsewhere; set AWS_REGION to the bucket's",
    "301": "says that the bucket lies elsewhere; set AWS_REGION to the bucket's",
    "NotImplemented": "does not know conditional puts, without which two writers cannot be kept "
    "apart; use another",
    "403": "denies access; check the credentials, and that they may list the bucket and read, write and "
    "delete its objects",
}


def error_code(error: boto.ClientError) -> str:
    """What S3 calls an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_status(error: boto.ClientError) -> int:
    """The status of HTTP with which an error came."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def no_bucket(server: str) -> str:
    """Of a bucket that is not there."""
    return f"there is none at {server}; make it, or name another"


def advise(error: Exception, server: str, attempts: int) -> str:
    """One line, of what is known for sure: servers' own words may repeat what is secret.

    Args:
        server: its address.
        attempts: how often it was asked.
    """
    if isinstance(error, boto.ClientError):
        code, status = error_code(error), error_status(error)
        if code == "NoSuchBucket":
            return no_bucket(server)
        if advice := _ADVICE.get(code) or _ADVICE.get(str(status)):
            return f"{server} {advice} ({error.operation_name}: {code})"
        if status >= 500 or code in _THROTTLED:
            return (
                f"{server} answered {code} to {error.operation_name} {attempts} times; when it is well, the "
                "same command goes on from here"
            )
        return f"{server} refuses {error.operation_name} ({code})"
    if isinstance(error, _NO_CREDENTIALS):
        return "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, _UNREACHABLE):
        return (
            f"{server} does not answer ({type(error).__name__}); AWS_ENDPOINT_URL says which server is "
            "asked; when it answers, the same command goes on from here"
        )
    if isinstance(error, boto.ParamValidationError):
        return "is no name of a bucket, or an object's is longer than S3 takes"
    return f"cannot be used ({type(error).__name__})"
