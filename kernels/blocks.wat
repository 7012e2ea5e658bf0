;; The cells of the block index: block key -> value, open addressing in one flat table that never moves.
;; src/kv/directory/cells.ts says what each function does; src/kv/directory/scriptcells.ts is the same in TypeScript, word for word,
;; and a property test keeps the two alike to the last bit. Change both.
;;
;; Memory, in bytes:
;;       0  keys     1024 f64   what is asked about
;;    8192  gone     1024 f64   keys that `evict` took out
;;   16384  values   1024 u32   answers
;;   20480  cells    12 bytes each: key as u64, then value << 2 | age; a last word of 0 is an empty cell
(module
  (import "kernel" "memory" (memory 1))

  ;; Cells per unit of key, so that key * scale is where a search starts.
  (global $scale (mut f64) (f64.const 0))
  ;; One past the last cell.
  (global $end (mut i32) (i32.const 0))
  (global $limit (mut i32) (i32.const 0))
  ;; What `fetch` read, so that reading is not for nothing.
  (global $read (mut i32) (i32.const 0))
  ;; Where `evict` goes on, the end of the 8 cells it is in, and bytes from these to the 8 that come next.
  (global $hand (mut i32) (i32.const 20480))
  (global $groupEnd (mut i32) (i32.const 20576))
  (global $stride (mut i32) (i32.const 0))
  (global $size (export "size") (mut i32) (i32.const 0))

  (func (export "init") (param $capacity i32) (param $limit i32) (param $scale f64) (param $groups i32)
    (global.set $stride (i32.mul (local.get $groups) (i32.const 96)))
    (global.set $end (i32.add (i32.const 20480) (i32.mul (local.get $capacity) (i32.const 12))))
    (global.set $limit (local.get $limit))
    (global.set $scale (local.get $scale)))

  (func $home (param $key f64) (result i32)
    (i32.add
      (i32.const 20480)
      (i32.mul (i32.trunc_f64_u (f64.mul (local.get $key) (global.get $scale))) (i32.const 12))))

  (func $after (param $cell i32) (result i32)
    (select
      (i32.const 20480)
      (i32.add (local.get $cell) (i32.const 12))
      (i32.eq (i32.add (local.get $cell) (i32.const 12)) (global.get $end))))

  ;; The cell of a key, or the empty one where the search for it ends.
  (func $probe (param $key f64) (result i32)
    (local $cell i32) (local $bits i64)
    (local.set $bits (i64.trunc_f64_u (local.get $key)))
    (local.set $cell (call $home (local.get $key)))
    (loop $next
      (if (i32.eqz (i32.load offset=8 (local.get $cell))) (then (return (local.get $cell))))
      (if (i64.eq (i64.load align=4 (local.get $cell)) (local.get $bits)) (then (return (local.get $cell))))
      (local.set $cell (call $after (local.get $cell)))
      (br $next))
    (unreachable))

  ;; Reads the first cells of the next 32 keys, so that memory fetches them at the same time instead of one after the other.
  (func $fetch (param $index i32) (param $count i32) (result i32)
    (local $stop i32) (local $read i32)
    (local.set $stop (i32.add (local.get $index) (i32.const 32)))
    (if (i32.gt_u (local.get $stop) (local.get $count)) (then (local.set $stop (local.get $count))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (local.get $stop)))
        (local.set $read
          (i32.xor
            (local.get $read)
            (i32.load offset=8 (call $home (f64.load (i32.shl (local.get $index) (i32.const 3)))))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (global.set $read (local.get $read))
    (local.get $stop))

  ;; Bytes from one cell on to another, around the end.
  (func $way (param $from i32) (param $to i32) (result i32)
    (select
      (i32.sub (local.get $to) (local.get $from))
      (i32.add (i32.sub (local.get $to) (local.get $from)) (i32.sub (global.get $end) (i32.const 20480)))
      (i32.ge_u (local.get $to) (local.get $from))))

  ;; Empties a cell and closes the hole, so that no search ends too early.
  (func $remove (param $hole i32)
    (local $cell i32)
    (local.set $cell (local.get $hole))
    (block $closed
      (loop $next
        (local.set $cell (call $after (local.get $cell)))
        (br_if $closed (i32.eqz (i32.load offset=8 (local.get $cell))))
        (br_if $next
          (i32.lt_u
            (call $way (call $home (f64.convert_i64_u (i64.load align=4 (local.get $cell)))) (local.get $cell))
            (call $way (local.get $hole) (local.get $cell))))
        (i64.store align=4 (local.get $hole) (i64.load align=4 (local.get $cell)))
        (i32.store offset=8 (local.get $hole) (i32.load offset=8 (local.get $cell)))
        (local.set $hole (local.get $cell))
        (br $next)))
    (i64.store align=4 (local.get $hole) (i64.const 0))
    (i32.store offset=8 (local.get $hole) (i32.const 0))
    (global.set $size (i32.sub (global.get $size) (i32.const 1))))

  ;; The cell that `evict` looks at after this one.
  (func $turn (param $cell i32) (result i32)
    (local.set $cell (i32.add (local.get $cell) (i32.const 12)))
    (if (i32.ne (local.get $cell) (global.get $groupEnd)) (then (return (local.get $cell))))
    (local.set $cell (i32.add (i32.sub (local.get $cell) (i32.const 96)) (global.get $stride)))
    (if (i32.ge_u (local.get $cell) (global.get $end))
      (then (local.set $cell (i32.sub (local.get $cell) (i32.sub (global.get $end) (i32.const 20480))))))
    (global.set $groupEnd (i32.add (local.get $cell) (i32.const 96)))
    (local.get $cell))

  (func (export "find") (param $count i32) (result i32)
    (local $index i32) (local $fetched i32) (local $cell i32) (local $word i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (local.get $count)))
        (if (i32.eq (local.get $index) (local.get $fetched))
          (then (local.set $fetched (call $fetch (local.get $index) (local.get $count)))))
        (local.set $cell (call $probe (f64.load (i32.shl (local.get $index) (i32.const 3)))))
        (local.set $word (i32.load offset=8 (local.get $cell)))
        (br_if $done (i32.eqz (local.get $word)))
        (if (i32.ne (i32.and (local.get $word) (i32.const 3)) (i32.const 3))
          (then (i32.store offset=8 (local.get $cell) (i32.or (local.get $word) (i32.const 3)))))
        (i32.store offset=16384 (i32.shl (local.get $index) (i32.const 2)) (i32.shr_u (local.get $word) (i32.const 2)))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (local.get $index))

  (func (export "absent") (param $from i32) (param $count i32) (result i32)
    (local $absent i32) (local $fetched i32) (local $cell i32) (local $word i32)
    (local.set $fetched (local.get $from))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $from) (local.get $count)))
        (if (i32.eq (local.get $from) (local.get $fetched))
          (then (local.set $fetched (call $fetch (local.get $from) (local.get $count)))))
        (local.set $cell (call $probe (f64.load (i32.shl (local.get $from) (i32.const 3)))))
        (local.set $word (i32.load offset=8 (local.get $cell)))
        (if (local.get $word)
          (then (i32.store offset=8 (local.get $cell) (i32.or (local.get $word) (i32.const 3))))
          (else (local.set $absent (i32.add (local.get $absent) (i32.const 1)))))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (br $next)))
    (local.get $absent))

  (func (export "move") (param $from i32) (param $count i32) (param $old i32) (param $new i32) (result i32)
    (local $key f64) (local $fetched i32) (local $cell i32) (local $word i32)
    (local.set $fetched (local.get $from))
    (block $stopped
      (loop $next
        (if (i32.ge_u (local.get $from) (local.get $count)) (then (return (local.get $from))))
        (if (i32.eq (local.get $from) (local.get $fetched))
          (then (local.set $fetched (call $fetch (local.get $from) (local.get $count)))))
        (local.set $key (f64.load (i32.shl (local.get $from) (i32.const 3))))
        (local.set $cell (call $probe (local.get $key)))
        (local.set $word (i32.load offset=8 (local.get $cell)))
        (br_if $stopped (i32.ne (i32.shr_u (local.get $word) (i32.const 2)) (local.get $old)))
        (if (local.get $new)
          (then
            (if (i32.eqz (local.get $word))
              (then
                (br_if $stopped (i32.ge_u (global.get $size) (global.get $limit)))
                (i64.store align=4 (local.get $cell) (i64.trunc_f64_u (local.get $key)))
                (global.set $size (i32.add (global.get $size) (i32.const 1)))))
            (i32.store offset=8 (local.get $cell)
              (i32.or
                (i32.or (i32.shl (local.get $new) (i32.const 2)) (i32.and (local.get $word) (i32.const 3)))
                (i32.const 1))))
          (else (if (local.get $word) (then (call $remove (local.get $cell))))))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (br $next)))
    (i32.store offset=16384 (i32.const 0) (i32.shr_u (local.get $word) (i32.const 2)))
    (local.get $from))

  (func (export "evict") (param $count i32) (result i32)
    (local $gone i32) (local $left i32) (local $cell i32) (local $word i32)
    (local.set $cell (global.get $hand))
    (block $done
      (loop $one
        (br_if $done (i32.ge_u (local.get $gone) (local.get $count)))
        (br_if $done (i32.eqz (global.get $size)))
        (local.set $left (i32.const 1024))
        (loop $look
          (local.set $word (i32.load offset=8 (local.get $cell)))
          (if (local.get $word)
            (then
              (local.set $left (i32.sub (local.get $left) (i32.const 1)))
              (if (i32.and (i32.ne (i32.and (local.get $word) (i32.const 3)) (i32.const 0)) (i32.ne (local.get $left) (i32.const 0)))
                (then (i32.store offset=8 (local.get $cell) (i32.sub (local.get $word) (i32.const 1))))
                (else
                  (f64.store offset=8192 (i32.shl (local.get $gone) (i32.const 3))
                    (f64.convert_i64_u (i64.load align=4 (local.get $cell))))
                  (i32.store offset=16384 (i32.shl (local.get $gone) (i32.const 2)) (i32.shr_u (local.get $word) (i32.const 2)))
                  (local.set $gone (i32.add (local.get $gone) (i32.const 1)))
                  (call $remove (local.get $cell))
                  (br $one)))))
          (local.set $cell (call $turn (local.get $cell)))
          (br $look))))
    (global.set $hand (local.get $cell))
    (local.get $gone)))
