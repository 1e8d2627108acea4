/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Entries out of the FIB, a slice at a time.
 *
 * The cursor is an index into the pool of all FIB entries, where an entry keeps its place for life:
 * the next slice goes on where the last one ended, whatever has come and gone in between, and no
 * list of entries must be made first, which is what takes so long in ip_route_dump.
 */

#include <fibbulk/fibbulk.h>
#include <vnet/fib/fib_api.h>
#include <vnet/fib/fib_entry.h>
#include <vnet/fib/fib_path.h>
#include <vnet/fib/fib_path_list.h>
#include <vnet/fib/fib_table.h>
#include <vnet/fib/fib_types.api_types.h>

#define ROW_HIDDEN 1
#define ROW_BOTTOM 2

static const fib_entry_src_t *
source_of (const fib_entry_t *entry, fib_source_t source)
{
  const fib_entry_src_t *src;

  vec_foreach (src, entry->fe_srcs)
    if (src->fes_src == source && (src->fes_flags & FIB_ENTRY_SRC_FLAG_ADDED))
      return src;
  return 0;
}

static void
add_u32 (u8 **column, u32 value)
{
  value = clib_host_to_net_u32 (value);
  vec_add (*column, (u8 *) &value, sizeof (value));
}

static u32
add_path_list (fibbulk_slice_t *slice, fib_node_index_t pl, const fib_path_ext_list_t *exts)
{
  fib_path_encode_ctx_t ctx = {};
  const fib_route_path_t *rpath;

  if (pl != FIB_NODE_INDEX_INVALID)
    fib_path_list_walk_w_ext (pl, exts, fib_path_encode, &ctx);
  vec_foreach (rpath, ctx.rpaths)
    {
      vl_api_fib_path_t path;
      fib_api_path_encode (rpath, &path);
      vec_add (slice->paths, (u8 *) &path, sizeof (path));
    }
  vec_free (ctx.rpaths);
  add_u32 (&slice->ends, vec_len (slice->paths) / sizeof (vl_api_fib_path_t));
  return slice->n_path_lists++;
}

/* Path lists are shared between entries, the labels that an entry adds to the paths are not. */
static u32
path_list_of (fibbulk_slice_t *slice, uword **known, fib_node_index_t pl,
	      const fib_path_ext_list_t *exts)
{
  uword *found;
  u32 number;

  if (exts && vec_len (exts->fpel_exts))
    return add_path_list (slice, pl, exts);
  found = hash_get (*known, pl);
  if (found)
    return *found;
  number = add_path_list (slice, pl, 0);
  hash_set (*known, pl, number);
  return number;
}

static void
add_row (fibbulk_slice_t *slice, const fib_entry_t *entry, u32 path_list, fib_source_t source,
	 u8 flags)
{
  const fib_prefix_t *pfx = &entry->fe_prefix;

  add_u32 (&slice->tables, fib_table_get_table_id (entry->fe_fib_index, pfx->fp_proto));
  add_u32 (&slice->path_lists, path_list);
  switch (pfx->fp_proto)
    {
    case FIB_PROTOCOL_IP4:
      vec_add1 (slice->lengths, pfx->fp_len);
      vec_add (slice->addresses, (u8 *) &pfx->fp_addr.ip4, sizeof (pfx->fp_addr.ip4));
      break;
    case FIB_PROTOCOL_IP6:
      vec_add1 (slice->lengths, pfx->fp_len);
      vec_add (slice->addresses, (u8 *) &pfx->fp_addr.ip6, sizeof (pfx->fp_addr.ip6));
      break;
    case FIB_PROTOCOL_MPLS: /* 21 to the FIB: one bit says whether it is the bottom of the stack */
      vec_add1 (slice->lengths, FIBBULK_LABEL_BITS);
      add_u32 (&slice->addresses, pfx->fp_label << (32 - FIBBULK_LABEL_BITS));
      vec_add1 (slice->payloads, fib_api_path_dpo_proto_to_nh (pfx->fp_payload_proto));
      flags |= pfx->fp_eos == MPLS_EOS ? ROW_BOTTOM : 0;
      break;
    }
  vec_add1 (slice->sources, source);
  vec_add1 (slice->flags, flags);
  slice->n_rows++;
}

static void
add_entry (fibbulk_slice_t *slice, uword **known, const fib_entry_t *entry, fib_source_t source,
	   u8 others)
{
  const fib_source_t best = fib_entry_get_best_source (fib_entry_get_index (entry));
  const fib_entry_src_t *src;

  if (others || best == source)
    {
      src = source_of (entry, best);
      add_row (slice, entry,
	       path_list_of (slice, known, entry->fe_parent, src ? &src->fes_path_exts : 0), best,
	       0);
    }
  if (source == FIB_SOURCE_INVALID || best == source)
    return;
  src = source_of (entry, source);
  if (src)
    {
      add_row (slice, entry, path_list_of (slice, known, src->fes_pl, &src->fes_path_exts), source,
	       ROW_HIDDEN);
      fibbulk_main.counters.read_hidden++;
    }
}

void
fibbulk_read (vlib_main_t *vm, fibbulk_slice_t *slice, fib_protocol_t proto, fib_source_t source,
	      u8 others, u32 cursor, u32 max_rows)
{
  const f64 begin = vlib_time_now (vm);
  fib_entry_t *pool = fib_entry_get (0); /* made at the start, never removed: a default route */
  const u32 n_entries = pool_len (pool);
  uword *known = hash_create (0, sizeof (uword));
  fibbulk_counters_t *counters = &fibbulk_main.counters;
  u32 i;

  clib_memset (slice, 0, sizeof (*slice));
  max_rows = max_rows ? clib_min (max_rows, FIBBULK_MAX_ROWS - 1) : FIBBULK_READ_ROWS;
  for (i = cursor; i < n_entries; i++)
    {
      if (slice->n_rows >= max_rows ||
	  vec_len (slice->paths) >= FIBBULK_READ_PATHS * sizeof (vl_api_fib_path_t))
	break;
      if (i % FIBBULK_ENTRIES_PER_CLOCK == 0 && i != cursor &&
	  vlib_time_now (vm) - begin >= FIBBULK_SLICE_S)
	break;
      if (!pool_is_free_index (pool, i) && pool[i].fe_prefix.fp_proto == proto)
	add_entry (slice, &known, pool + i, source, others);
    }
  slice->cursor = i < n_entries ? i : ~0;
  hash_free (known);
  counters->read_rows += slice->n_rows;
  counters->longest_read_slice_s =
    clib_max (counters->longest_read_slice_s, vlib_time_now (vm) - begin);
}

#define foreach_column(_)                                                                          \
  _ (ends)                                                                                         \
  _ (paths) _ (tables) _ (path_lists) _ (lengths) _ (addresses) _ (payloads) _ (sources) _ (flags)

u32
fibbulk_slice_bytes (const fibbulk_slice_t *slice)
{
  u32 n_bytes = 0;
#define _(column) n_bytes += vec_len (slice->column);
  foreach_column (_)
#undef _
    return n_bytes;
}

void
fibbulk_slice_copy (const fibbulk_slice_t *slice, u8 *data)
{
#define _(column)                                                                                  \
  clib_memcpy (data, slice->column, vec_len (slice->column));                                      \
  data += vec_len (slice->column);
  foreach_column (_)
#undef _
}

void
fibbulk_slice_free (fibbulk_slice_t *slice)
{
#define _(column) vec_free (slice->column);
  foreach_column (_)
#undef _
}
