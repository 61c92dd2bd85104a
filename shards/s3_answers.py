"""What a server of S3 and boto3 say when a request fails, and what a person is advised to do then."""

from __future__ import annotations

from botocore import exceptions as boto

BROKEN = (boto.ReadTimeoutError, boto.ResponseStreamingError, boto.IncompleteReadError, ConnectionError)
UNREACHABLE = (boto.HTTPClientError, boto.EndpointConnectionError, *BROKEN)
NO_CREDENTIALS = (
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
THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429"})
CHECKSUMS = frozenset(
    {"ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256"}
)
ADVICE = {
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
