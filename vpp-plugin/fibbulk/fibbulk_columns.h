/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is in `data` of the plugin's messages, and whether it may be believed.
 *
 * Everything that a client can get wrong is found here, before VPP's FIB is touched: lengths,
 * counts, order, prefixes, and the kinds of paths that the FIB would take without looking at what
 * they point to. This part knows nothing of VPP, so that it is tested and fuzzed without it.
 */

#ifndef included_fibbulk_columns_h
#define included_fibbulk_columns_h

#include <stddef.h>
#include <stdint.h>

#define FIBBULK_MAX_ROWS	65536
#define FIBBULK_MAX_PATH_LISTS	8192
#define FIBBULK_MAX_PATHS	8192
#define FIBBULK_PATHS_PER_LIST	255
#define FIBBULK_PATH_BYTES	167 /* vl_api_fib_path_t */
#define FIBBULK_LABELS_PER_PATH 16
#define FIBBULK_LABEL_BITS	20
#define FIBBULK_REMOVE		0xffffffff
#define FIBBULK_NO_INTERFACE	0xffffffff

/* What the rows of a message are about: as vl_api_fibbulk_family_t and fib_protocol_t have it. */
typedef enum
{
  FIBBULK_IP4 = 0,
  FIBBULK_IP6 = 1,
  FIBBULK_MPLS = 2,
} fibbulk_family_t;

typedef enum
{
  FIBBULK_OK = 0,
  FIBBULK_WRONG_LENGTH, /* the columns do not fill the message exactly */
  FIBBULK_TOO_MANY,	/* more rows, lists or paths than a message may have */
  FIBBULK_WRONG_ORDER,	/* the ends of path lists do not rise */
  FIBBULK_PREFIX_LENGTH, /* too long; of a label, not 20 */
  FIBBULK_HOST_BITS,
  FIBBULK_NO_SUCH_LIST,
  FIBBULK_NO_PATHS,
  FIBBULK_WRONG_PATH, /* a kind of path that is not for bulk routes, or too many labels */
  FIBBULK_WRONG_PAYLOAD,
} fibbulk_error_t;

/* The columns of a message; they are where they were received, and not aligned. */
typedef struct
{
  fibbulk_family_t family;
  uint32_t n_path_lists;
  uint32_t n_rows;
  uint32_t address_bytes; /* 4 or 16; a label is the first 20 bits of 4 */
  const uint8_t *ends;
  const uint8_t *paths;
  const uint8_t *tables;
  const uint8_t *path_lists;
  const uint8_t *lengths;
  const uint8_t *addresses;
  const uint8_t *payloads; /* of labels only */
} fibbulk_columns_t;

typedef struct
{
  uint32_t table_id;
  uint32_t path_list; /* FIBBULK_REMOVE: none */
  uint8_t length;
  const uint8_t *address;
  uint32_t label;  /* of labels only, as the next one */
  uint8_t payload; /* FIBBULK_IP4 or FIBBULK_IP6: what is below it at the bottom of the stack */
} fibbulk_row_t;

/* Find the columns in what was received; `c` may be used only where this returns FIBBULK_OK. */
fibbulk_error_t fibbulk_columns_parse (fibbulk_columns_t *c, const uint8_t *data, uint64_t n_bytes,
				       fibbulk_family_t family, uint32_t n_path_lists,
				       uint32_t n_rows);

/* Row i < n_rows. */
fibbulk_error_t fibbulk_row_get (const fibbulk_columns_t *c, uint32_t i, fibbulk_row_t *row);

/* The paths of list i < n_path_lists: where they begin and how many they are. */
const uint8_t *fibbulk_path_list_get (const fibbulk_columns_t *c, uint32_t i, uint32_t *n_paths);

/* Whether rows of the family may have the path list, as far as can be said without asking VPP. */
fibbulk_error_t fibbulk_path_list_check (fibbulk_family_t family, const uint8_t *paths,
					 uint32_t n_paths);

#endif /* included_fibbulk_columns_h */
