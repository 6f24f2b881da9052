;; A component written by hand, without any SDK: it calls `release` with a handle number that nobody gave it.
;; The test adds the manifest and puts the number to try in place of HANDLE.
(component
  (import "palisade:remediation/types@0.1.0" (instance $types
    (type $remediation' (record
      (field "uid" string) (field "kind" string) (field "namespace" string) (field "name" string)
      (field "node" string) (field "strategy" string) (field "parameters" string) (field "step" string)
      (field "memory" (list u8)) (field "age" u64) (field "timed-out" bool) (field "deleting" bool)))
    (export "remediation" (type $remediation (eq $remediation')))
    (type $verdict' (variant (case "working" (option u64)) (case "succeeded") (case "failed" string)))
    (export "verdict" (type $verdict (eq $verdict')))
    (type $outcome' (record (field "verdict" $verdict) (field "step" string) (field "memory" (list u8))))
    (export "outcome" (type $outcome (eq $outcome')))
    (type $failure' (variant (case "bad-memory" string) (case "other" string)))
    (export "failure" (type $failure (eq $failure')))
    (type $refusal' (variant
      (case "permission-denied" string) (case "not-found" string) (case "unavailable" string) (case "refused" string)))
    (export "refusal" (type $refusal (eq $refusal')))))
  (alias export $types "remediation" (type $remediation))
  (alias export $types "outcome" (type $outcome))
  (alias export $types "failure" (type $failure))
  (alias export $types "refusal" (type $refusal))

  (import "palisade:remediation/fencing@0.1.0" (instance $fencing
    (export "proof" (type (sub resource)))))
  (alias export $fencing "proof" (type $proof))

  (import "palisade:remediation/workloads@0.1.0" (instance $workloads
    (alias outer 1 $refusal (type $refusal'))
    (export "refusal" (type $refusal (eq $refusal')))
    (alias outer 1 $proof (type $proof'))
    (export "proof" (type $proof (eq $proof')))
    (type $method' (enum "resource-deletion" "out-of-service-taint"))
    (export "release-method" (type $method (eq $method')))
    (export "release" (func
      (param "key" string) (param "proof" (borrow $proof)) (param "how" $method)
      (result (result (error $refusal)))))))

  ;; Memory first, because the imports need it.
  (core module $memory-module
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $wanted i32) (result i32)
      (local $place i32)
      (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (local.set $place (global.get $top))
      (global.set $top (i32.add (global.get $top) (local.get $wanted)))
      (local.get $place)))
  (core instance $memory (instantiate $memory-module))
  (alias core export $memory "memory" (core memory $bytes))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $release
    (canon lower (func $workloads "release") (memory $bytes) (realloc $realloc)))

  (core module $main-module
    (import "host" "release" (func $release (param i32 i32 i32 i32 i32)))
    (import "memory" "memory" (memory 1))
    (data (i32.const 16) "forged")
    (func (export "reconcile") (param i32) (result i32)
      (call $release (i32.const 16) (i32.const 6) (i32.const HANDLE) (i32.const 0) (i32.const 64))
      ;; ok(outcome { succeeded, step "", memory [] }) at 256: as if it had worked.
      (i32.store (i32.const 264) (i32.const 1))
      (i32.const 256)))
  (core instance $main (instantiate $main-module
    (with "host" (instance (export "release" (func $release))))
    (with "memory" (instance $memory))))
  (alias core export $main "reconcile" (core func $reconcile))
  (func (export "reconcile") (param "remediation" $remediation) (result (result $outcome (error $failure)))
    (canon lift (core func $reconcile) (memory $bytes) (realloc $realloc)))
)
