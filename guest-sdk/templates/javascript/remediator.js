// {{name}}: says what it is about, fences the node, and releases its workloads once its end is proven.

import { getProof, progress, request } from "palisade:remediation/fencing@0.1.0";
import { event } from "palisade:remediation/report@0.1.0";
import { release, remaining, restore } from "palisade:remediation/workloads@0.1.0";

const answer = (verdict, step) => ({ verdict, step, memory: new Uint8Array() });
const working = (step, after) => answer({ tag: "working", val: after }, step);
const succeeded = (step) => answer({ tag: "succeeded" }, step);
const failed = (step, reason) => answer({ tag: "failed", val: reason }, step);

export function reconcile(remediation) {
  try {
    return decide(remediation);
  } catch (error) {
    // A refusal ends the call: nothing that was staged happens, and the host calls again later.
    const refusal = error?.payload;
    throw { tag: "other", val: refusal?.val ? `the host refused: ${refusal.val}` : String(error) };
  }
}

function decide(remediation) {
  const remains = remaining();
  const released = remains.released !== undefined && remains.released !== null;
  if (remediation.deleting) {
    if (!remains.held) return succeeded("restored");
    restore("restore", "everything");
    return working("restoring");
  }
  if (released && remains.pods === 0 && remains.volumeAttachments === 0) return succeeded("released");
  if (remediation.timedOut && !released) {
    return failed("timed-out", "its owner gave up waiting before the workloads were released");
  }
  const fencing = progress();
  // The boot that was proven dead showed a sign of life. Nothing may follow from that proof.
  if (fencing.stage === "contradicted") return failed("contradicted", fencing.waitingFor);
  const proof = getProof();
  if (proof) {
    release(`release/resource-deletion/${proof.id()}`, proof, "resource-deletion");
    return working("releasing");
  }
  // The node may be back with a new boot already; that one is not ours to end.
  if (released) return working("releasing");
  request("fence", "self-fence");
  event("asked", false, "Fencing", `${remediation.node} is asked to end its boot`);
  // A bound that is known is worth a look as soon as it has passed.
  const due = fencing.due;
  return working("waiting-for-proof", due === undefined ? undefined : due < 100n ? 100n : due);
}
