/* SPDX-License-Identifier: Apache-2.0 */

#include <fibbulk/fibbulk_columns.h>

/* Where the parts of a vl_api_fib_path_t are that are looked at here (vnet/fib/fib_types.api). */
enum
{
  PATH_RPF_ID = 8,
  PATH_TYPE = 14,
  PATH_FLAGS = 18,
  PATH_PROTO = 22,
  PATH_N_LABELS = 54,
};

/* FIB_API_PATH_TYPE_* */
enum
{
  TYPE_NORMAL = 0,
  TYPE_LOCAL = 1,
  TYPE_DROP = 2,
  TYPE_ICMP_UNREACH = 5,
  TYPE_ICMP_PROHIBIT = 6,
};

/* FIB_API_PATH_NH_PROTO_* and FIB_API_PATH_FLAG_* */
enum
{
  PROTO_IP4 = 0,
  PROTO_IP6 = 1,
  PROTO_MPLS = 2,
  FLAGS_RESOLVE_VIA = 1 | 2,
};

static uint32_t
get_u32 (const uint8_t *p)
{
  return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

fibbulk_error_t
fibbulk_columns_parse (fibbulk_columns_t *c, const uint8_t *data, uint64_t n_bytes,
		       fibbulk_family_t family, uint32_t n_path_lists, uint32_t n_rows)
{
  const uint32_t address_bytes = family == FIBBULK_IP6 ? 16 : 4;
  const uint32_t payload_bytes = family == FIBBULK_MPLS;
  const uint64_t ends_bytes = 4 * (uint64_t) n_path_lists;
  const uint64_t rows_bytes = (4 + 4 + 1 + address_bytes + payload_bytes) * (uint64_t) n_rows;
  uint32_t i, end = 0;

  if (n_rows > FIBBULK_MAX_ROWS || n_path_lists > FIBBULK_MAX_PATH_LISTS)
    return FIBBULK_TOO_MANY;
  if (n_bytes < ends_bytes + rows_bytes)
    return FIBBULK_WRONG_LENGTH;

  for (i = 0; i < n_path_lists; i++)
    {
      const uint32_t next = get_u32 (data + 4 * (size_t) i);
      if (next < end)
	return FIBBULK_WRONG_ORDER;
      if (next - end > FIBBULK_PATHS_PER_LIST || next > FIBBULK_MAX_PATHS)
	return FIBBULK_TOO_MANY;
      end = next;
    }
  if (n_bytes != ends_bytes + (uint64_t) end * FIBBULK_PATH_BYTES + rows_bytes)
    return FIBBULK_WRONG_LENGTH;

  c->family = family;
  c->n_path_lists = n_path_lists;
  c->n_rows = n_rows;
  c->address_bytes = address_bytes;
  c->ends = data;
  c->paths = c->ends + ends_bytes;
  c->tables = c->paths + (size_t) end * FIBBULK_PATH_BYTES;
  c->path_lists = c->tables + 4 * (size_t) n_rows;
  c->lengths = c->path_lists + 4 * (size_t) n_rows;
  c->addresses = c->lengths + n_rows;
  c->payloads = c->addresses + (size_t) n_rows * address_bytes;
  return FIBBULK_OK;
}

fibbulk_error_t
fibbulk_row_get (const fibbulk_columns_t *c, uint32_t i, fibbulk_row_t *row)
{
  uint32_t at;

  row->table_id = get_u32 (c->tables + 4 * (size_t) i);
  row->path_list = get_u32 (c->path_lists + 4 * (size_t) i);
  row->length = c->lengths[i];
  row->address = c->addresses + (size_t) i * c->address_bytes;

  if (row->length > 8 * c->address_bytes)
    return FIBBULK_PREFIX_LENGTH;
  at = row->length / 8;
  if (at < c->address_bytes && (row->address[at] & (0xff >> row->length % 8)))
    return FIBBULK_HOST_BITS;
  for (at++; at < c->address_bytes; at++)
    if (row->address[at])
      return FIBBULK_HOST_BITS;
  if (row->path_list != FIBBULK_REMOVE && row->path_list >= c->n_path_lists)
    return FIBBULK_NO_SUCH_LIST;
  if (c->family != FIBBULK_MPLS)
    return FIBBULK_OK;

  row->label = get_u32 (row->address) >> (32 - FIBBULK_LABEL_BITS);
  row->payload = c->payloads[i];
  if (row->length != FIBBULK_LABEL_BITS)
    return FIBBULK_PREFIX_LENGTH;
  if (row->payload != FIBBULK_IP4 && row->payload != FIBBULK_IP6)
    return FIBBULK_WRONG_PAYLOAD;
  return FIBBULK_OK;
}

const uint8_t *
fibbulk_path_list_get (const fibbulk_columns_t *c, uint32_t i, uint32_t *n_paths)
{
  const uint32_t begin = i ? get_u32 (c->ends + 4 * (size_t) (i - 1)) : 0;

  *n_paths = get_u32 (c->ends + 4 * (size_t) i) - begin;
  return c->paths + (size_t) begin * FIBBULK_PATH_BYTES;
}

static fibbulk_error_t
path_check (fibbulk_family_t family, const uint8_t *path)
{
  const uint32_t rpf_id = get_u32 (path + PATH_RPF_ID);
  const uint32_t proto = get_u32 (path + PATH_PROTO);
  const uint32_t type = get_u32 (path + PATH_TYPE);
  const int drops_labelled = family == FIBBULK_MPLS && type == TYPE_DROP;

  if (rpf_id != 0 && rpf_id != 0xffffffff)
    return FIBBULK_WRONG_PATH;
  if (drops_labelled ? proto != PROTO_MPLS : proto != PROTO_IP4 && proto != PROTO_IP6)
    return FIBBULK_WRONG_PATH;
  if (get_u32 (path + PATH_FLAGS) & ~(uint32_t) FLAGS_RESOLVE_VIA)
    return FIBBULK_WRONG_PATH;
  if (path[PATH_N_LABELS] > FIBBULK_LABELS_PER_PATH)
    return FIBBULK_WRONG_PATH;

  switch (type)
    {
    case TYPE_LOCAL: /* through an interface: only what the FIB makes of its own */
      if (get_u32 (path) != FIBBULK_NO_INTERFACE)
	return FIBBULK_WRONG_PATH;
      /* fall through */
    case TYPE_ICMP_UNREACH:
    case TYPE_ICMP_PROHIBIT: /* made for IP packets, not for labelled ones */
      return family == FIBBULK_MPLS ? FIBBULK_WRONG_PATH : FIBBULK_OK;
    case TYPE_NORMAL:
    case TYPE_DROP:
      return FIBBULK_OK;
    default:
      return FIBBULK_WRONG_PATH;
    }
}

fibbulk_error_t
fibbulk_path_list_check (fibbulk_family_t family, const uint8_t *paths, uint32_t n_paths)
{
  uint32_t i;

  if (n_paths == 0)
    return FIBBULK_NO_PATHS;
  for (i = 0; i < n_paths; i++)
    {
      const fibbulk_error_t error = path_check (family, paths + (size_t) i * FIBBULK_PATH_BYTES);
      if (error != FIBBULK_OK)
	return error;
    }
  return FIBBULK_OK;
}
