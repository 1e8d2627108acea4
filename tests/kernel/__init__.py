"""The kernel side against real kernels: private namespaces, real Netlink, and oracles of others.

Each case is followed into the memory FIB and into a real VPP, with vppctl as the witness (conftest.py, ``mirroring``).
Where it stands:

=======================================================  ==========================================================
silent withdrawals and revivals, addresses, carrier      test_silent_withdrawals.py
replace, metric, tos, weights, several entries, tables   test_entries.py
nexthop objects and groups, in either compat mode        test_nexthop_objects.py
the local table, anycast, renames, bridges, namespaces   test_links.py
overflow, interrupted dumps, dumps racing with churn     test_dumps.py
segments, addresses around a packet                      test_encaps.py; the packets in tests/vpp/test_encaps.py
VRFs, and routes that come before them                   tests/vpp/test_vrfs_and_vlans.py, tests/vm/test_vrf.py
VLANs, 802.1ad, QinQ; MTU, peers, kept addresses         tests/vpp/test_vrfs_and_vlans.py, test_interfaces.py there
labels                                                   tests/vm/test_mpls.py, tests/vpp/test_labels.py
rules                                                    test_rules.py, tests/vpp/test_tables_and_rules.py
neighbours                                               test_neighbors.py, tests/vpp/test_neighbors.py
duplicate addresses, dummies, bonds                      tests/vm/test_links.py
foreign rows, a killed VPP, a killed agent               tests/vpp/test_agreement.py
=======================================================  ==========================================================
"""
