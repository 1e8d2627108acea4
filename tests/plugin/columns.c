/*
 * The plugin's columns without VPP: print what a message says, or feed the parser mutated ones.
 *
 *   columns print FAMILY N_PATH_LISTS N_ROWS < data
 *   columns fuzz SEED MESSAGES
 *
 * Each message lies in an allocation of exactly its size, so that AddressSanitizer sees every byte too far.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fibbulk/fibbulk_columns.h>

static uint64_t random_state;

static uint32_t
random_below (uint32_t n)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t) (random_state >> 32) % n;
}

static void
put_u32 (uint8_t *p, uint32_t value)
{
  p[0] = value >> 24, p[1] = value >> 16, p[2] = value >> 8, p[3] = value;
}

static void
print (const fibbulk_columns_t *c)
{
  uint32_t i, j, n_paths;

  for (i = 0; i < c->n_path_lists; i++)
    {
      const uint8_t *paths = fibbulk_path_list_get (c, i, &n_paths);
      printf ("list %u %d\n", n_paths, fibbulk_path_list_check (c->family, paths, n_paths));
    }
  for (i = 0; i < c->n_rows; i++)
    {
      fibbulk_row_t row;
      const fibbulk_error_t error = fibbulk_row_get (c, i, &row);
      printf ("row %d %u %u ", error, row.table_id, row.length);
      for (j = 0; j < c->address_bytes; j++)
	printf ("%02x", row.address[j]);
      printf (" %d", (int) row.path_list);
      if (c->family == FIBBULK_MPLS)
	printf (" %u %u", row.label, row.payload);
      printf ("\n");
    }
}

/* Read every byte that the plugin would; return how many rows it would write. */
static uint32_t
use (const fibbulk_columns_t *c)
{
  uint32_t i, n_paths, n_good = 0;
  volatile uint8_t sum = 0;

  for (i = 0; i < c->n_rows; i++)
    {
      const uint8_t *paths;
      fibbulk_row_t row;
      uint32_t j;

      if (fibbulk_row_get (c, i, &row) != FIBBULK_OK)
	continue;
      for (j = 0; j < c->address_bytes; j++)
	sum += row.address[j];
      if (c->family == FIBBULK_MPLS && (row.label >> FIBBULK_LABEL_BITS || row.payload > FIBBULK_IP6))
	abort ();
      if (row.path_list == FIBBULK_REMOVE)
	{
	  n_good++;
	  continue;
	}
      if (row.path_list >= c->n_path_lists)
	abort ();
      paths = fibbulk_path_list_get (c, row.path_list, &n_paths);
      if (n_paths > FIBBULK_PATHS_PER_LIST)
	abort ();
      for (j = 0; j < n_paths * FIBBULK_PATH_BYTES; j++)
	sum += paths[j];
      n_good += fibbulk_path_list_check (c->family, paths, n_paths) == FIBBULK_OK;
    }
  return n_good;
}

typedef struct
{
  fibbulk_family_t family;
  uint32_t n_path_lists, n_rows;
  size_t n_bytes;
  uint8_t *data;
} message_t;

/* A message that is right in every way. */
static void
make (message_t *m)
{
  static const uint8_t types[] = { 0, 2, 1, 5, 6 };
  uint32_t i, j, n_paths, size, ends[5], is_label;
  uint8_t *p, *lengths;

  m->family = random_below (3);
  is_label = m->family == FIBBULK_MPLS;
  m->n_path_lists = random_below (5);
  m->n_rows = random_below (40);
  size = m->family == FIBBULK_IP6 ? 16 : 4;
  for (i = 0, n_paths = 0; i < m->n_path_lists; i++)
    ends[i] = n_paths += 1 + random_below (3);
  m->n_bytes = 4 * m->n_path_lists + FIBBULK_PATH_BYTES * n_paths + (9 + size + is_label) * m->n_rows;
  p = m->data = calloc (1, m->n_bytes ? m->n_bytes : 1);
  for (i = 0; i < m->n_path_lists; i++, p += 4)
    put_u32 (p, ends[i]);
  for (i = 0; i < n_paths; i++, p += FIBBULK_PATH_BYTES)
    {
      put_u32 (p, FIBBULK_NO_INTERFACE);
      p[17] = types[random_below (is_label ? 2 : 5)];
      p[25] = is_label && p[17] == 2 ? 2 : random_below (2);
      p[54] = random_below (FIBBULK_LABELS_PER_PATH + 1);
    }
  for (i = 0; i < m->n_rows; i++, p += 4)
    put_u32 (p, random_below (3));
  for (i = 0; i < m->n_rows; i++, p += 4)
    put_u32 (p, random_below (m->n_path_lists + 1) - 1);
  lengths = p;
  for (i = 0; i < m->n_rows; i++)
    *p++ = is_label ? FIBBULK_LABEL_BITS : 8 * random_below (size + 1);
  for (i = 0; i < m->n_rows; i++, p += size)
    for (j = 0; j < lengths[i] / 8; j++)
      p[j] = random_below (256);
  for (i = 0; i < m->n_rows * is_label; i++)
    *p++ = random_below (2);
}

static void
mutate (message_t *m)
{
  static const uint32_t numbers[] = { 0, 1, 255, 256, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
  uint32_t n, value;
  uint8_t *data;

  for (n = random_below (4); n; n--)
    switch (random_below (6))
      {
      case 0: /* some byte */
	if (m->n_bytes)
	  m->data[random_below (m->n_bytes)] = random_below (256);
	break;
      case 1: /* some number */
	if (m->n_bytes >= 4)
	  put_u32 (m->data + 4 * random_below (m->n_bytes / 4), numbers[random_below (8)]);
	break;
      case 2: /* cut short, or made longer */
      case 3:
	value = random_below (2) ? random_below (m->n_bytes + 1) : m->n_bytes + random_below (64);
	data = calloc (1, value ? value : 1);
	memcpy (data, m->data, value < m->n_bytes ? value : m->n_bytes);
	free (m->data);
	m->data = data, m->n_bytes = value;
	break;
      case 4:
	m->n_rows = random_below (2) ? numbers[random_below (8)] : m->n_rows + random_below (3) - 1;
	break;
      case 5:
	m->n_path_lists = random_below (2) ? numbers[random_below (8)] : m->n_path_lists + random_below (3) - 1;
	break;
      }
}

static int
fuzz (uint64_t seed, uint32_t n_messages)
{
  uint32_t i, n_accepted = 0, n_rows = 0;

  random_state = seed * 0x9e3779b97f4a7c15 | 1;
  for (i = 0; i < n_messages; i++)
    {
      fibbulk_columns_t c;
      message_t m;

      make (&m);
      if (fibbulk_columns_parse (&c, m.data, m.n_bytes, m.family, m.n_path_lists, m.n_rows) != FIBBULK_OK
	  || use (&c) != m.n_rows)
	return fprintf (stderr, "message %u is right, and refused\n", i), 1;
      mutate (&m);
      if (fibbulk_columns_parse (&c, m.data, m.n_bytes, m.family, m.n_path_lists, m.n_rows) == FIBBULK_OK)
	{
	  n_accepted++;
	  n_rows += use (&c);
	}
      free (m.data);
    }
  printf ("%u %u\n", n_accepted, n_rows);
  return 0;
}

int
main (int argc, char **argv)
{
  if (argc == 4 && !strcmp (argv[1], "fuzz"))
    return fuzz (strtoull (argv[2], 0, 10), strtoul (argv[3], 0, 10));
  if (argc == 5 && !strcmp (argv[1], "print"))
    {
      static uint8_t input[1 << 24];
      const size_t n_bytes = fread (input, 1, sizeof (input), stdin);
      uint8_t *data = malloc (n_bytes ? n_bytes : 1);
      fibbulk_columns_t c;
      fibbulk_error_t error;

      memcpy (data, input, n_bytes);
      error = fibbulk_columns_parse (&c, data, n_bytes, atoi (argv[2]), strtoul (argv[3], 0, 10),
				     strtoul (argv[4], 0, 10));
      printf ("message %d\n", error);
      if (error == FIBBULK_OK)
	print (&c);
      free (data);
      return 0;
    }
  return 2;
}
