"""Whether the audit trail is as it was written, from a database or from an export of it.

What holds if nothing is reported:

(1) each record hashes to its leaf, and each column is what the record says;
(2) ``seq`` of a writer runs from 1 without a gap or a repeat, and every row belongs to one batch;
(3) batches of a writer run from 1, each begins where the last one ended and holds its hash;
(4) each batch's root is over the leaves of its rows, in their order, and its hash is over it;
(5) the log has each batch once, as it is, those of a writer in their order; its hashes are right;
(6) each checkpoint is over the log as it was at its size, follows the one before, and is signed by
    the key of the log;
(7) each checkpoint that was kept elsewhere is over this log, and none is over more than there is;
(8) rows are missing only where a tombstone says so that the key of the log has signed.

(6) and (8) take the public key, (7) takes the checkpoints: a report names what it lacked. Batches
that no checkpoint is over yet are counted and no problem, unless the log has passed over them.
"""

from broker.audit.verify.export import verify_export
from broker.audit.verify.outside import OutsideHead, load_outside
from broker.audit.verify.report import Fault, Problem, Report
from broker.audit.verify.trail import Question, verify_trail

__all__ = [
    "Fault",
    "OutsideHead",
    "Problem",
    "Question",
    "Report",
    "load_outside",
    "verify_export",
    "verify_trail",
]
