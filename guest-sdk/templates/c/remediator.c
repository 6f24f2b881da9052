/* {{name}}: says what it is about, fences the node, and releases its workloads once its end is proven. */

#include <stdlib.h>
#include <string.h>

#include "remediator.h"

typedef palisade_remediation_types_remediation_t remediation_t;
typedef palisade_remediation_types_outcome_t outcome_t;
typedef palisade_remediation_types_failure_t failure_t;
typedef palisade_remediation_types_refusal_t refusal_t;
typedef remediator_string_t string_t;

static string_t text(const char *words) {
    string_t string;
    remediator_string_dup(&string, words);
    return string;
}

static string_t join(string_t one, string_t two) {
    string_t both = {malloc(one.len + two.len), one.len + two.len};
    memcpy(both.ptr, one.ptr, one.len);
    memcpy(both.ptr + one.len, two.ptr, two.len);
    return both;
}

/* Answers: true means that there is one, as the bindings want it. */

static bool working(outcome_t *answer, const char *step) {
    answer->verdict.tag = PALISADE_REMEDIATION_TYPES_VERDICT_WORKING;
    answer->verdict.val.working.is_some = false;
    answer->step = text(step);
    return true;
}

static bool succeeded(outcome_t *answer, const char *step) {
    answer->verdict.tag = PALISADE_REMEDIATION_TYPES_VERDICT_SUCCEEDED;
    answer->step = text(step);
    return true;
}

static bool failed(outcome_t *answer, const char *step, string_t reason) {
    answer->verdict.tag = PALISADE_REMEDIATION_TYPES_VERDICT_FAILED;
    answer->verdict.val.failed = reason;
    answer->step = text(step);
    return true;
}

/* A refusal ends the call: nothing that was staged happens, and the host calls again later. */
static bool refused(failure_t *failure, const refusal_t *refusal) {
    /* Every case of a refusal holds one text, at the same place. */
    failure->tag = PALISADE_REMEDIATION_TYPES_FAILURE_OTHER;
    failure->val.other = join(text("the host refused: "), refusal->val.refused);
    return false;
}

bool exports_remediator_reconcile(remediation_t *remediation, outcome_t *answer, failure_t *failure) {
    palisade_remediation_workloads_remains_t remains;
    palisade_remediation_fencing_fence_status_t progress;
    palisade_remediation_fencing_own_proof_t proof;
    refusal_t refusal;
    string_t key;

    memset(answer, 0, sizeof *answer);
    palisade_remediation_workloads_remaining(&remains);
    bool released = remains.released.is_some;

    if (remediation->deleting) {
        if (!remains.held) return succeeded(answer, "restored");
        key = text("restore");
        if (!palisade_remediation_workloads_restore(&key, PALISADE_REMEDIATION_WORKLOADS_RESTORATION_EVERYTHING, &refusal)) {
            return refused(failure, &refusal);
        }
        return working(answer, "restoring");
    }
    if (released && remains.pods == 0 && remains.volume_attachments == 0) return succeeded(answer, "released");
    if (remediation->timed_out && !released) {
        return failed(answer, "timed-out", text("its owner gave up waiting before the workloads were released"));
    }

    palisade_remediation_fencing_progress(&progress);
    if (progress.stage == PALISADE_REMEDIATION_FENCING_STAGE_CONTRADICTED) {
        /* The boot that was proven dead showed a sign of life. Nothing may follow from that proof. */
        return failed(answer, "contradicted", progress.waiting_for);
    }
    if (palisade_remediation_fencing_get_proof(&proof)) {
        palisade_remediation_fencing_borrow_proof_t borrowed = palisade_remediation_fencing_borrow_proof(proof);
        string_t id;
        palisade_remediation_fencing_method_proof_id(borrowed, &id);
        key = join(text("release/resource-deletion/"), id);
        if (!palisade_remediation_workloads_release(
                &key, borrowed, PALISADE_REMEDIATION_WORKLOADS_RELEASE_METHOD_RESOURCE_DELETION, &refusal)) {
            return refused(failure, &refusal);
        }
        return working(answer, "releasing");
    }
    /* The node may be back with a new boot already; that one is not ours to end. */
    if (released) return working(answer, "releasing");

    key = text("fence");
    if (!palisade_remediation_fencing_request(&key, PALISADE_REMEDIATION_FENCING_METHOD_SELF_FENCE, &refusal)) {
        return refused(failure, &refusal);
    }
    key = text("asked");
    string_t reason = text("Fencing");
    string_t message = join(remediation->node, text(" is asked to end its boot"));
    if (!palisade_remediation_report_event(&key, false, &reason, &message, &refusal)) {
        return refused(failure, &refusal);
    }
    working(answer, "waiting-for-proof");
    if (progress.due.is_some) {
        /* A bound that is known is worth a look as soon as it has passed. */
        answer->verdict.val.working.is_some = true;
        answer->verdict.val.working.val = progress.due.val < 100 ? 100 : progress.due.val;
    }
    return true;
}
