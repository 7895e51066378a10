"""Verifies in-toto statements by code that is not ours: securesystemslib opens the envelopes,
in-toto-attestation reads what is in them.

usage: attestation.py gate.pub SUBJECT STATEMENTS.intoto.jsonl

Prints a line a statement and exits 0, or raises.
"""

import hashlib
import json
import sys

from cryptography.hazmat.primitives import serialization
from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

PREDICATES = {
    "https://in-toto.io/attestation/test-result/v0.1": test_result_pb2.TestResult,
    "https://slsa.dev/verification_summary/v1": vsa_pb2.VerificationSummary,
}


def main(pem, subject, statements):
    with open(pem, "rb") as file:
        public = serialization.load_pem_public_key(file.read())
    raw = public.public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    key = SSlibKey.from_crypto(public, keyid=hashlib.sha256(raw).hexdigest())
    with open(subject, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    with open(statements, encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert lines, "no statements"
    for line in lines:
        envelope = Envelope.from_dict(json.loads(line))
        envelope.verify([key], 1)
        assert envelope.payload_type == "application/vnd.in-toto+json"
        said = json.loads(envelope.payload)
        statement = json_format.ParseDict(said, statement_pb2.Statement())
        Statement.copy_from_pb(statement).validate()
        digests = [one.digest["sha256"] for one in statement.subject]
        assert digest in digests, f"{digest} is none of {digests}"
        kind = PREDICATES.get(statement.predicate_type)
        if kind is not None:
            # Fields that a newer or another version knows are no error, by the rules of in-toto.
            predicate = dict(said["predicate"])
            # The package has one text here, where SLSA v1 says a list of them.
            levels = predicate.pop("verifiedLevels", ["none"])
            assert levels and all(isinstance(one, str) for one in levels)
            json_format.ParseDict(predicate, kind(), ignore_unknown_fields=True)
        print(statement.predicate_type, said["predicate"].get("result", ""))


main(*sys.argv[1:])
