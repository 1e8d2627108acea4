/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For the bench only: a pair for linux-cp whose host side is any port of VPP's, where there is no
 * /dev/vhost-net to make a tap with. linux-nl then mirrors the routes through it. No link may change
 * its state: linux-cp would set the carrier of a tap that is none.
 */

#include <vlib/vlib.h>
#include <vlib/unix/plugin.h>
#include <vnet/vnet.h>
#include <vnet/plugin/plugin.h>
#include <vpp/app/version.h>

/* lcp_itf_pair_add of linux-cp/lcp_interface.h; its host type 0 is a tap */
typedef int (pair_add_fn_t) (u32 host, u32 phy, u8 *host_name, u32 ifindex, int type, u8 *ns);

static clib_error_t *
lcp_pair_make (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  pair_add_fn_t *pair_add = vlib_get_plugin_symbol ("linux_cp_plugin.so", "lcp_itf_pair_add");
  vnet_main_t *vnm = vnet_get_main ();
  u32 phy, host, ifindex;
  u8 *name;
  int rv;

  if (pair_add == 0)
    return clib_error_return (0, "there is no linux-cp");
  if (!unformat (input, "%U %U %s %u", unformat_vnet_sw_interface, vnm, &phy,
		 unformat_vnet_sw_interface, vnm, &host, &name, &ifindex))
    return clib_error_return (0, "expected: PHY HOST-PORT LINK IFINDEX");
  rv = pair_add (host, phy, name, ifindex, 0, 0);
  vec_free (name);
  return rv ? clib_error_return (0, "no pair: %d", rv) : 0;
}

VLIB_CLI_COMMAND (lcp_pair_command, static) = {
  .path = "bench lcp pair",
  .short_help = "bench lcp pair <phy> <host port> <link> <ifindex>",
  .function = lcp_pair_make,
};

VLIB_PLUGIN_REGISTER () = {
  .version = "1",
  .version_required = VPP_BUILD_VER,
  .description = "A pair without a tap, for the bench",
};
