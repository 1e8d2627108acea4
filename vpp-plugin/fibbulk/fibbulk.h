/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bulk routes for the binary API.
 *
 * VPP's FIB takes half a million routes a second, its API, one message a route, a quarter of that.
 * Here a message is thousands of rows. Like ip_route_add_del the handlers run on the main thread,
 * and the FIB takes the barrier itself where a pool that workers read must move. A long message is
 * worked off in slices between which the main thread does whatever else it has to.
 */

#ifndef included_fibbulk_h
#define included_fibbulk_h

#include <vlib/vlib.h>
#include <vnet/fib/fib_types.h>
#include <vnet/fib/fib_source.h>
#include <fibbulk/fibbulk_columns.h>

/* How long the main thread is held at a stretch, and how often the clock is looked at meanwhile. */
#define FIBBULK_SLICE_S		  2e-3
#define FIBBULK_ROWS_PER_CLOCK	  8
#define FIBBULK_ENTRIES_PER_CLOCK 256

/* How long whoever else waits for the main thread has a turn between two slices: two ticks of its
 * clock. A process that only yields goes on after the next look at files (vlib_file_poll), which
 * lasts 10 ms where nothing else is due: the main loop does not know that it is waited for. */
#define FIBBULK_PAUSE_S 20e-6

/* How long workers are held at a stretch for removals, see fibbulk_apply.c. */
#define FIBBULK_BARRIER_S 250e-6

#define FIBBULK_READ_ROWS  8192
#define FIBBULK_READ_PATHS 4096

#define foreach_fibbulk_counter                                                                    \
  _ (apply_messages, "apply: messages")                                                            \
  _ (apply_malformed, "apply: messages refused as a whole")                                        \
  _ (apply_rows, "apply: rows added or replaced")                                                  \
  _ (apply_removals, "apply: rows removed")                                                        \
  _ (apply_refusals, "apply: rows refused")                                                        \
  _ (apply_slices, "apply: slices")                                                                \
  _ (apply_barriers, "apply: barriers for removals")                                               \
  _ (read_messages, "read: messages")                                                              \
  _ (read_malformed, "read: messages refused as a whole")                                          \
  _ (read_rows, "read: rows")                                                                      \
  _ (read_hidden, "read: rows hidden by a stronger source")

typedef struct
{
#define _(name, text) u64 name;
  foreach_fibbulk_counter
#undef _
    f64 longest_apply_slice_s;
  f64 longest_pause_s;
  f64 longest_barrier_s;
  f64 longest_read_slice_s;
} fibbulk_counters_t;

typedef struct
{
  u16 msg_id_base;
  fibbulk_counters_t counters;
} fibbulk_main_t;

extern fibbulk_main_t fibbulk_main;

typedef struct
{
  u32 row;
  i32 retval;
} fibbulk_refused_t;

/* Write the rows; return those that were refused, as a vector. May suspend. */
fibbulk_refused_t *fibbulk_apply (vlib_main_t *vm, const fibbulk_columns_t *columns,
				  fib_protocol_t proto, fib_source_t source);

/* Some entries as columns, each a vector in network order. */
typedef struct
{
  u32 n_rows;
  u32 n_path_lists;
  u32 cursor;
  u8 *ends;
  u8 *paths;
  u8 *tables;
  u8 *path_lists;
  u8 *lengths;
  u8 *addresses;
  u8 *payloads;
  u8 *sources;
  u8 *flags;
} fibbulk_slice_t;

/* Take entries from the cursor on, until the slice is full or its time is up. */
void fibbulk_read (vlib_main_t *vm, fibbulk_slice_t *slice, fib_protocol_t proto,
		   fib_source_t source, u8 others, u32 cursor, u32 max_rows);
u32 fibbulk_slice_bytes (const fibbulk_slice_t *slice);
void fibbulk_slice_copy (const fibbulk_slice_t *slice, u8 *data);
void fibbulk_slice_free (fibbulk_slice_t *slice);

#endif /* included_fibbulk_h */
