/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rows into the FIB.
 *
 * Whatever a row refers to (its table, the interfaces of its paths) may go while the message waits
 * between two slices. So nothing that was looked up is kept beyond its slice.
 *
 * When the FIB removes an entry it waits until each worker has been around its loop once, for every
 * entry anew (vlib_worker_wait_one_loop): with workers that sleep in between, fifty a second. It
 * does not where it finds the barrier held. So removals hold it, for a quarter of a millisecond at
 * most; VPP then keeps it open for some multiple of that.
 *
 * A label is two entries, at the bottom of the stack and not. What the one at the bottom expects
 * below its label is a part of it for life. Where a row says otherwise it is made anew, with the
 * barrier held, so that no packet comes in between.
 */

#include <fibbulk/fibbulk.h>
#include <vnet/api_errno.h>
#include <vnet/fib/fib_api.h>
#include <vnet/fib/fib_entry.h>
#include <vnet/fib/fib_table.h>
#include <vnet/fib/fib_types.api_types.h>

STATIC_ASSERT (sizeof (vl_api_fib_path_t) == FIBBULK_PATH_BYTES, "vl_api_fib_path_t has changed");

typedef struct
{
  u32 slice; /* the slice in which the rest was decoded */
  int rv;
  fib_entry_flag_t flags;
  fib_route_path_t *rpaths;
} path_list_t;

typedef struct
{
  const fibbulk_columns_t *columns;
  fib_protocol_t proto;
  fib_source_t source;
  u32 slice;
  u32 table_id, fib_index; /* of the last row, if fib_index is one */
  path_list_t *lists;
  u8 barrier;
  f64 barrier_since;
  fib_route_path_t *rpaths; /* the FIB gets a copy, for it changes what it gets */
} work_t;

static int
retval_of (fibbulk_error_t error)
{
  switch (error)
    {
    case FIBBULK_OK:
      return 0;
    case FIBBULK_PREFIX_LENGTH:
      return VNET_API_ERROR_INVALID_PREFIX_LENGTH;
    case FIBBULK_HOST_BITS:
      return VNET_API_ERROR_IP_PREFIX_INVALID;
    case FIBBULK_NO_PATHS:
      return VNET_API_ERROR_NO_PATHS_IN_ROUTE;
    case FIBBULK_WRONG_PATH:
      return VNET_API_ERROR_UNSUPPORTED;
    case FIBBULK_WRONG_PAYLOAD:
      return VNET_API_ERROR_FIB_PATH_UNSUPPORTED_NH_PROTO;
    default:
      return VNET_API_ERROR_INVALID_VALUE;
    }
}

static void
path_list_reset (path_list_t *list)
{
  fib_route_path_t *rpath;

  vec_foreach (rpath, list->rpaths)
    vec_free (rpath->frp_label_stack);
  vec_reset_length (list->rpaths);
  list->flags = FIB_ENTRY_FLAG_NONE;
}

static int
path_list_decode (const fibbulk_columns_t *columns, u32 number, path_list_t *list)
{
  u32 n_paths, i;
  const u8 *paths = fibbulk_path_list_get (columns, number, &n_paths);
  int rv = retval_of (fibbulk_path_list_check (columns->family, paths, n_paths));

  path_list_reset (list);
  for (i = 0; i < n_paths && rv == 0; i++)
    {
      vl_api_fib_path_t path;
      fib_route_path_t *rpath;

      clib_memcpy (&path, paths + i * sizeof (path), sizeof (path));
      vec_add2 (list->rpaths, rpath, 1);
      clib_memset (rpath, 0, sizeof (*rpath));
      rv = fib_api_path_decode (&path, rpath);
      if (rpath->frp_flags & FIB_ROUTE_PATH_LOCAL)
	list->flags |= FIB_ENTRY_FLAG_CONNECTED | FIB_ENTRY_FLAG_LOCAL;
    }
  return rv;
}

static path_list_t *
path_list_get (work_t *w, u32 number)
{
  path_list_t *list = vec_elt_at_index (w->lists, number);

  if (list->slice != w->slice)
    {
      list->rv = path_list_decode (w->columns, number, list);
      list->slice = w->slice;
    }
  return list;
}

static void
barrier_hold (vlib_main_t *vm, work_t *w)
{
  if (w->barrier || vlib_num_workers () == 0)
    return;
  vlib_worker_thread_barrier_sync (vm);
  w->barrier = 1;
  w->barrier_since = vlib_time_now (vm);
}

static void
barrier_release (vlib_main_t *vm, work_t *w)
{
  fibbulk_counters_t *counters = &fibbulk_main.counters;

  if (!w->barrier)
    return;
  vlib_worker_thread_barrier_release (vm);
  w->barrier = 0;
  counters->apply_barriers++;
  counters->longest_barrier_s =
    clib_max (counters->longest_barrier_s, vlib_time_now (vm) - w->barrier_since);
}

static void
entry_remove (const work_t *w, const fib_prefix_t *pfx)
{
  fib_table_entry_delete (w->fib_index, pfx, w->source);
}

static int
entry_write (work_t *w, const fib_prefix_t *pfx, const path_list_t *list)
{
  fib_route_path_t *rpath;

  vec_reset_length (w->rpaths);
  vec_append (w->rpaths, list->rpaths);
  vec_foreach (rpath, w->rpaths)
    rpath->frp_label_stack = vec_dup (rpath->frp_label_stack); /* the entry keeps it */
  return fib_api_route_add_del (1 /* is_add */, 0 /* is_multipath */, w->fib_index, pfx, w->source,
				list->flags, w->rpaths);
}

/* Take the entry away if it expects something else below its label. */
static int
label_make_way (vlib_main_t *vm, work_t *w, const fib_prefix_t *pfx)
{
  const fib_node_index_t fei = fib_table_lookup_exact_match (w->fib_index, pfx);
  const fib_entry_src_t *src;

  if (fei == FIB_NODE_INDEX_INVALID ||
      fib_entry_get_prefix (fei)->fp_payload_proto == pfx->fp_payload_proto)
    return 0;
  vec_foreach (src, fib_entry_get (fei)->fe_srcs)
    if (src->fes_src != w->source)
      return VNET_API_ERROR_INSTANCE_IN_USE; /* the entry would stay */
  barrier_hold (vm, w);
  entry_remove (w, pfx);
  return 0;
}

static int
label_apply (vlib_main_t *vm, work_t *w, const fibbulk_row_t *row, const path_list_t *list)
{
  fib_prefix_t bottom = {
    .fp_len = 21,
    .fp_proto = FIB_PROTOCOL_MPLS,
    .fp_label = row->label,
    .fp_eos = MPLS_EOS,
    .fp_payload_proto = row->payload == FIBBULK_IP6 ? DPO_PROTO_IP6 : DPO_PROTO_IP4,
  };
  fib_prefix_t above = bottom;
  int rv;

  above.fp_eos = MPLS_NON_EOS;
  above.fp_payload_proto = DPO_PROTO_MPLS;
  if (!list)
    {
      entry_remove (w, &bottom);
      entry_remove (w, &above);
      return 0;
    }
  rv = label_make_way (vm, w, &bottom);
  if (rv == 0)
    rv = entry_write (w, &bottom, list);
  if (rv == 0)
    rv = entry_write (w, &above, list);
  return rv;
}

static int
prefix_apply (work_t *w, const fibbulk_row_t *row, const path_list_t *list)
{
  fib_prefix_t pfx = { .fp_proto = w->proto, .fp_len = row->length };

  if (w->proto == FIB_PROTOCOL_IP6)
    clib_memcpy (&pfx.fp_addr.ip6, row->address, sizeof (pfx.fp_addr.ip6));
  else
    clib_memcpy (&pfx.fp_addr.ip4, row->address, sizeof (pfx.fp_addr.ip4));
  if (list)
    return entry_write (w, &pfx, list);
  entry_remove (w, &pfx);
  return 0;
}

static int
row_apply (vlib_main_t *vm, work_t *w, u32 number, u8 *is_removal)
{
  path_list_t *list = 0;
  fibbulk_row_t row;
  int rv;

  rv = retval_of (fibbulk_row_get (w->columns, number, &row));
  if (rv)
    return rv;

  if (w->fib_index == ~0 || w->table_id != row.table_id)
    {
      w->table_id = row.table_id;
      rv = fib_api_table_id_decode (w->proto, row.table_id, &w->fib_index);
      if (rv)
	return rv;
    }

  *is_removal = row.path_list == FIBBULK_REMOVE;
  if (*is_removal)
    barrier_hold (vm, w);
  else
    {
      barrier_release (vm, w);
      list = path_list_get (w, row.path_list);
      if (list->rv)
	return list->rv;
    }
  if (w->proto == FIB_PROTOCOL_MPLS)
    return label_apply (vm, w, &row, list);
  return prefix_apply (w, &row, list);
}

fibbulk_refused_t *
fibbulk_apply (vlib_main_t *vm, const fibbulk_columns_t *columns, fib_protocol_t proto,
	       fib_source_t source)
{
  fibbulk_counters_t *counters = &fibbulk_main.counters;
  fibbulk_refused_t *refused = 0;
  f64 begin = vlib_time_now (vm);
  path_list_t *list;
  work_t w = {
    .columns = columns,
    .proto = proto,
    .source = source,
    .slice = 1,
    .fib_index = ~0,
  };
  u32 i;

  if (columns->n_path_lists)
    vec_validate (w.lists, columns->n_path_lists - 1);

  for (i = 0; i < columns->n_rows; i++)
    {
      u8 is_removal = 0;
      int rv;

      if (i % FIBBULK_ROWS_PER_CLOCK == 0 && i)
	{
	  const f64 now = vlib_time_now (vm);
	  if (now - begin >= FIBBULK_SLICE_S && vlib_in_process_context (vm))
	    {
	      counters->longest_apply_slice_s =
		clib_max (counters->longest_apply_slice_s, now - begin);
	      counters->apply_slices++;
	      barrier_release (vm, &w);
	      vlib_process_suspend (vm, FIBBULK_PAUSE_S);
	      begin = vlib_time_now (vm);
	      counters->longest_pause_s = clib_max (counters->longest_pause_s, begin - now);
	      w.slice++;
	      w.fib_index = ~0;
	    }
	}

      rv = row_apply (vm, &w, i, &is_removal);
      if (w.barrier && vlib_time_now (vm) - w.barrier_since >= FIBBULK_BARRIER_S)
	barrier_release (vm, &w);
      if (rv)
	{
	  const fibbulk_refused_t r = { .row = i, .retval = rv };
	  vec_add1 (refused, r);
	}
      else if (is_removal)
	counters->apply_removals++;
      else
	counters->apply_rows++;
    }

  barrier_release (vm, &w);
  counters->apply_refusals += vec_len (refused);
  counters->apply_slices++;
  counters->longest_apply_slice_s =
    clib_max (counters->longest_apply_slice_s, vlib_time_now (vm) - begin);

  vec_foreach (list, w.lists)
    {
      path_list_reset (list);
      vec_free (list->rpaths);
    }
  vec_free (w.lists);
  vec_free (w.rpaths);
  return refused;
}
