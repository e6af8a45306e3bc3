"""Audit of data before any training: what is one polymer, which labels can be trusted, what a split would leak."""

from polyml.audit.findings import Audit, Finding
from polyml.audit.run import audit
from polyml.audit.spec import AuditSpec

__all__ = ["Audit", "AuditSpec", "Finding", "audit"]
