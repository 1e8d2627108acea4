/* SPDX-License-Identifier: Apache-2.0 */

#include <fibbulk/fibbulk.h>

#include <vlibapi/api.h>
#include <vlibmemory/api.h>
#include <vnet/plugin/plugin.h>
#include <vpp/app/version.h>

#include <fibbulk/fibbulk.api_enum.h>
#include <fibbulk/fibbulk.api_types.h>

#define REPLY_MSG_ID_BASE fibbulk_main.msg_id_base
#include <vlibapi/api_helper_macros.h>

STATIC_ASSERT ((int) FIBBULK_IP6 == (int) FIBBULK_API_IP6, "families differ");
STATIC_ASSERT ((int) FIBBULK_MPLS == (int) FIBBULK_API_MPLS, "families differ");

fibbulk_main_t fibbulk_main;

typedef struct
{
  fib_source_t source;
  u8 found;
} source_walk_t;

static walk_rc_t
source_find (fib_source_t id, const char *name, fib_source_priority_t prio,
	     fib_source_behaviour_t bh, void *arg)
{
  source_walk_t *walk = arg;

  if (id != walk->source)
    return WALK_CONTINUE;
  walk->found = bh == FIB_SOURCE_BH_API;
  return WALK_STOP;
}

/* The FIB believes what it is told: a number that is no source, or a source with data of its own,
 * would be taken for one that has paths. */
static int
source_takes_paths (fib_source_t source)
{
  source_walk_t walk = { .source = source };

  fib_source_walk (source_find, &walk);
  return walk.found;
}

static int
proto_decode (vl_api_fibbulk_family_t family, fib_protocol_t *proto)
{
  switch (family)
    {
    case FIBBULK_API_IP4:
      *proto = FIB_PROTOCOL_IP4;
      return 0;
    case FIBBULK_API_IP6:
      *proto = FIB_PROTOCOL_IP6;
      return 0;
    case FIBBULK_API_MPLS:
      *proto = FIB_PROTOCOL_MPLS;
      return 0;
    default:
      return VNET_API_ERROR_INVALID_ADDRESS_FAMILY;
    }
}

static int
apply_decode (const vl_api_fibbulk_apply_t *mp, fibbulk_columns_t *columns, fib_protocol_t *proto)
{
  const u32 n_bytes = ntohl (mp->n_bytes);
  int rv;

  if ((u64) n_bytes + sizeof (*mp) > vl_msg_api_get_msg_length ((void *) mp))
    return VNET_API_ERROR_INVALID_ARGUMENT;
  rv = proto_decode (mp->family, proto);
  if (rv)
    return rv;
  if (!source_takes_paths (mp->src))
    return VNET_API_ERROR_INVALID_REGISTRATION;

  switch (fibbulk_columns_parse (columns, mp->data, n_bytes, (fibbulk_family_t) mp->family,
				 ntohl (mp->n_path_lists), ntohl (mp->n_rows)))
    {
    case FIBBULK_OK:
      return 0;
    case FIBBULK_TOO_MANY:
      return VNET_API_ERROR_LIMIT_EXCEEDED;
    default:
      return VNET_API_ERROR_INVALID_ARGUMENT;
    }
}

static void
vl_api_fibbulk_apply_t_handler (vl_api_fibbulk_apply_t *mp)
{
  fibbulk_counters_t *counters = &fibbulk_main.counters;
  vl_api_fibbulk_apply_reply_t *rmp;
  fibbulk_refused_t *refused = 0;
  fibbulk_columns_t columns;
  fib_protocol_t proto;
  u32 n_refused, i;
  int rv;

  counters->apply_messages++;
  rv = apply_decode (mp, &columns, &proto);
  if (rv)
    counters->apply_malformed++;
  else
    refused = fibbulk_apply (vlib_get_main (), &columns, proto, mp->src);

  n_refused = vec_len (refused);
  REPLY_MACRO3 (VL_API_FIBBULK_APPLY_REPLY, n_refused * sizeof (rmp->refused[0]), ({
		  rmp->n_refused = htonl (n_refused);
		  for (i = 0; i < n_refused; i++)
		    {
		      rmp->refused[i].row = htonl (refused[i].row);
		      rmp->refused[i].retval = htonl (refused[i].retval);
		    }
		}));
  vec_free (refused);
}

static void
vl_api_fibbulk_read_t_handler (vl_api_fibbulk_read_t *mp)
{
  fibbulk_counters_t *counters = &fibbulk_main.counters;
  vl_api_fibbulk_read_reply_t *rmp;
  fibbulk_slice_t slice = {};
  fib_protocol_t proto;
  u32 n_bytes;
  int rv;

  counters->read_messages++;
  rv = proto_decode (mp->family, &proto);
  if (rv)
    counters->read_malformed++;
  else
    fibbulk_read (vlib_get_main (), &slice, proto, mp->src, mp->others, ntohl (mp->cursor),
		  ntohl (mp->max_rows));

  n_bytes = fibbulk_slice_bytes (&slice);
  REPLY_MACRO3 (VL_API_FIBBULK_READ_REPLY, n_bytes, ({
		  rmp->cursor = htonl (slice.cursor);
		  rmp->n_path_lists = htonl (slice.n_path_lists);
		  rmp->n_rows = htonl (slice.n_rows);
		  rmp->n_bytes = htonl (n_bytes);
		  fibbulk_slice_copy (&slice, rmp->data);
		}));
  fibbulk_slice_free (&slice);
}

static clib_error_t *
fibbulk_show (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  const fibbulk_counters_t *counters = &fibbulk_main.counters;

#define _(name, text) vlib_cli_output (vm, "%-45s %12lu", text, counters->name);
  foreach_fibbulk_counter
#undef _
    vlib_cli_output (vm, "%-45s %12.3f", "apply: longest slice, ms",
		     1e3 * counters->longest_apply_slice_s);
  vlib_cli_output (vm, "%-45s %12.3f", "apply: longest pause between slices, ms",
		   1e3 * counters->longest_pause_s);
  vlib_cli_output (vm, "%-45s %12.3f", "apply: longest barrier, ms",
		   1e3 * counters->longest_barrier_s);
  vlib_cli_output (vm, "%-45s %12.3f", "read: longest slice, ms",
		   1e3 * counters->longest_read_slice_s);
  return 0;
}

/*?
 * What the API of bulk routes has been asked, and for how long it held the main thread at most.
 *
 * @cliexpar
 * @cliexstart{show fibbulk}
 * apply: messages                                         246
 * @cliexend
?*/
VLIB_CLI_COMMAND (fibbulk_show_command, static) = {
  .path = "show fibbulk",
  .short_help = "show fibbulk",
  .function = fibbulk_show,
  .is_mp_safe = 1,
};

static clib_error_t *
fibbulk_clear (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  clib_memset (&fibbulk_main.counters, 0, sizeof (fibbulk_main.counters));
  return 0;
}

VLIB_CLI_COMMAND (fibbulk_clear_command, static) = {
  .path = "clear fibbulk",
  .short_help = "clear fibbulk",
  .function = fibbulk_clear,
  .is_mp_safe = 1,
};

#include <fibbulk/fibbulk.api.c>

static clib_error_t *
fibbulk_init (vlib_main_t *vm)
{
  api_main_t *am = vlibapi_get_main ();

  fibbulk_main.msg_id_base = setup_message_id_table ();
  vl_api_set_msg_thread_safe (am, REPLY_MSG_ID_BASE + VL_API_FIBBULK_APPLY, 1);
  vl_api_set_msg_thread_safe (am, REPLY_MSG_ID_BASE + VL_API_FIBBULK_READ, 1);
  return 0;
}

VLIB_INIT_FUNCTION (fibbulk_init);

VLIB_PLUGIN_REGISTER () = {
  .version = FIBBULK_VERSION,
  .version_required = VPP_BUILD_VER,
  .description = "Bulk routes over the binary API",
};
