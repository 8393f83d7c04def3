/*
 * src/identity/components_spill.c
 *		Components of more nodes than memory can name.
 *
 * A number of 31 bits is all that memory keeps of a node here, in a forest of
 * 4 bytes a node; names are on disk, in temporary files that are written and
 * read from front to back, never at random:
 *
 *	1.	Each end of an edge goes to one of P files, chosen by its hash; the
 *		edge itself remains as the two file numbers, two bytes.
 *
 *			edges	a-b  b-c		file 0: a c		file 1: b b
 *			route	(0,1) (1,0)
 *
 *	2.	File by file a dictionary, which needs memory for that file only, turns
 *		names into numbers, in the same order; new names are appended to the
 *		list of names.
 *
 *			file 0: 0 1		file 1: 2 2		names: a c b
 *
 *	3.	The route says from which file the next two numbers come: the forest
 *		joins them.
 *
 *	4.	Names and forest are read side by side, and each name goes to one of P
 *		files by the number of its root; the forest is not needed any more.
 *
 *	5.	Such a file has all nodes of its components: one pass finds the smallest
 *		of each, a second one emits.
 *
 * So the cost stays linear, and the disk takes about 2 + 2 * (w + 4) bytes an
 * edge and 2 * w + 4 a node, for names of w bytes; an integer has 8, anything
 * else its size and 8.
 */
#include "postgres.h"

#include "commands/tablespace.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "core/unionfind.h"
#include "identity/components.h"

/*
 * Files at a time.  Each has a buffer of BLCKSZ, which counts as memory that
 * is held: a small limit gets few.  Sixteen are enough for integers: a forest
 * that fits has at most six times as many nodes as the table that did not.
 */
#define MIN_FILES 16
#define MAX_FILES 128

/* What stands for the other end of a node without an edge. */
#define NO_FILE 255

/* Bytes of buffers a file may have: its own, ours, and some for its state. */
#define FILE_BYTES (BLCKSZ + READ_NUMBERS * sizeof(uint32) + 1024)

#define READ_NUMBERS 512
#define READ_KEYS 1024
#define READ_ROUTES 2048

/* A node and the number of its root, as step 4 writes it. */
#define ROOTED_INT_BYTES (sizeof(uint32) + sizeof(int64))

struct CdpSpill
{
	CdpComponents *call;
	bool integer;
	int files; /* a power of two */
	BufFile *route;
	BufFile *names;
	BufFile *part[MAX_FILES]; /* names of step 1 or 4, numbers of step 2 */
	uint64 part_count[MAX_FILES]; /* entries in each */
	uint64 routes;
	uint64 nodes;
	uint32 *parent;
	char *item; /* one name as it is read */
	size_t item_size;
};

/* -- files -- */

static BufFile *
create_file(CdpSpill *spill)
{
	MemoryContext old = MemoryContextSwitchTo(spill->call->context);
	ResourceOwner owner = CurrentResourceOwner;
	BufFile *file;

	PrepareTempTablespaces();
	CurrentResourceOwner = spill->call->owner;
	file = BufFileCreateTemp(false);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
	return file;
}

static void
rewind_file(BufFile *file)
{
	if (BufFileSeek(file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind temporary file")));
}

static void
read_file(BufFile *file, void *to, size_t size)
{
	if (BufFileRead(file, to, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file")));
}

static void
write_file(BufFile *file, const void *from, size_t size)
{
	BufFileWrite(file, unconstify(void *, from), size);
}

/*
 * A name of any type: its size and bytes; a value of a type passed by value
 * is its bytes as a Datum.
 */
static void
write_name(CdpSpill *spill, BufFile *file, Datum node)
{
	bool byval = spill->call->type.byval;
	uint32 size = byval ? sizeof(Datum) : (uint32) cdp_dictionary_node_size(spill->call, node);

	write_file(file, &size, sizeof(size));
	write_file(file, byval ? (void *) &node : DatumGetPointer(node), size);
}

/*
 * It lies in the one buffer until the next one is read.
 */
static Datum
read_name(CdpSpill *spill, BufFile *file)
{
	uint32 size;

	read_file(file, &size, sizeof(size));
	if (size > spill->item_size)
	{
		if (spill->item != NULL)
			pfree(spill->item);
		spill->item_size = Max((size_t) size, spill->item_size * 2);
		spill->item = MemoryContextAllocHuge(spill->call->context, spill->item_size);
	}
	read_file(file, spill->item, size);
	if (spill->call->type.byval)
	{
		Datum node;

		memcpy(&node, spill->item, sizeof(node));
		return node;
	}
	return PointerGetDatum(spill->item);
}

CdpSpill *
cdp_spill_create(CdpComponents *call)
{
	CdpSpill *spill = MemoryContextAllocZero(call->context, sizeof(CdpSpill));

	spill->call = call;
	spill->integer = call->type.integer;
	spill->files = MIN_FILES;
	/* buffers take an eighth of the memory at most, if there is more than little */
	while (spill->files < MAX_FILES && spill->files * 2 * FILE_BYTES < call->limit / 8)
		spill->files *= 2;
	spill->route = create_file(spill);
	for (int i = 0; i < spill->files; i++)
		spill->part[i] = create_file(spill);
	return spill;
}

/* What the buffers leave of the memory. */
static size_t
memory_left(CdpSpill *spill)
{
	size_t buffers = spill->files * FILE_BYTES;

	return spill->call->limit > buffers ? spill->call->limit - buffers : 0;
}

/* -- step 1: distribute -- */

static uint8
file_of(CdpSpill *spill, uint32 hash)
{
	/* the dictionary's table looks at the high bits */
	return (uint8) (hash & (uint32) (spill->files - 1));
}

static void
add_route(CdpSpill *spill, uint8 a, uint8 b)
{
	uint8 route[2];

	route[0] = a;
	route[1] = b;
	write_file(spill->route, route, sizeof(route));
	spill->routes++;
}

void
cdp_spill_add_int(CdpSpill *spill, const int64 *ends, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		uint8 route[2] = {NO_FILE, NO_FILE};
		int n = (ends[2 * i] == ends[2 * i + 1]) ? 1 : 2;

		for (int j = 0; j < n; j++)
		{
			route[j] = file_of(spill, cdp_core_hash_int64(ends[2 * i + j]));
			write_file(spill->part[route[j]], &ends[2 * i + j], sizeof(int64));
			spill->part_count[route[j]]++;
		}
		add_route(spill, route[0], route[1]);
	}
}

static void
add_name(CdpSpill *spill, uint8 file, Datum node, uint32 hash)
{
	write_file(spill->part[file], &hash, sizeof(hash));
	write_name(spill, spill->part[file], node);
	spill->part_count[file]++;
}

/*
 * Both nodes must be flat.
 */
void
cdp_spill_add_any(CdpSpill *spill, Datum a, uint32 hash_a, Datum b, uint32 hash_b)
{
	uint8 file_a = file_of(spill, hash_a);
	uint8 file_b = (a == b) ? NO_FILE : file_of(spill, hash_b);

	add_name(spill, file_a, a, hash_a);
	if (file_b != NO_FILE)
		add_name(spill, file_b, b, hash_b);
	add_route(spill, file_a, file_b);
}

/* -- step 2: number -- */

static void
check_nodes(CdpSpill *spill, uint64 more)
{
	spill->nodes += more;
	spill->call->nodes = spill->nodes;
	if (spill->nodes > CDP_CORE_MAX_NODES)
		cdp_components_raise(spill->call, CDP_CORE_TOO_MANY);
}

/*
 * A file has more distinct nodes than fit; so many bytes would have done.
 */
static void
raise_part(CdpSpill *spill, int file, uint64 done, size_t bytes)
{
	/* as if all the rest were new: the need is not larger than this */
	double whole = (double) bytes * spill->part_count[file] / Max(done, 1);

	cdp_components_raise_limit(spill->call,
							   Max((uint64) (2 * whole), spill->call->limit + 1));
}

static void
number_ints(CdpSpill *spill, int file, BufFile *numbers)
{
	CdpCoreNodes nodes;
	uint64 left = spill->part_count[file];
	uint32 base = (uint32) spill->nodes;
	int64_t keys[READ_KEYS];
	uint32_t local[READ_KEYS];

	cdp_core_nodes_init(&nodes, &spill->call->host, memory_left(spill), false, false);
	while (left > 0)
	{
		size_t n = Min(left, READ_KEYS);
		size_t done = 0;

		read_file(spill->part[file], keys, n * sizeof(int64_t));
		while (done < n)
		{
			size_t more;

			if (cdp_core_nodes_number(&nodes, keys + done, n - done, local + done, &more) ==
				CDP_CORE_FULL)
			{
				CdpCoreStatus status = cdp_core_nodes_grow(&nodes);

				if (status == CDP_CORE_LIMIT)
					raise_part(spill, file, spill->part_count[file] - left,
							   cdp_core_nodes_bytes(&nodes));
				cdp_components_raise(spill->call, status);
			}
			done += more;
		}
		for (size_t i = 0; i < n; i++)
			local[i] += base;
		write_file(numbers, local, n * sizeof(uint32_t));
		left -= n;
		cdp_components_tick(spill->call);
	}
	for (uint32 i = 0; i < nodes.count; i += READ_KEYS)
		write_file(spill->names, nodes.keys + i,
				   Min(nodes.count - i, READ_KEYS) * sizeof(int64_t));
	check_nodes(spill, nodes.count);
	cdp_core_nodes_free(&nodes);
}

static void
number_anys(CdpSpill *spill, int file, BufFile *numbers)
{
	CdpDictionary *dictionary = cdp_dictionary_create(spill->call, memory_left(spill), false);
	uint32 base = (uint32) spill->nodes;
	uint32 count;

	for (uint64 i = 0; i < spill->part_count[file]; i++)
	{
		uint32 hash;
		uint32 number;
		Datum node;

		read_file(spill->part[file], &hash, sizeof(hash));
		node = read_name(spill, spill->part[file]);
		number = cdp_dictionary_number(dictionary, node, hash);
		if (number == CDP_CORE_NO_NODE)
			raise_part(spill, file, i, memory_left(spill));
		number += base;
		write_file(numbers, &number, sizeof(number));
		if (i % READ_KEYS == 0)
		{
			MemoryContextReset(spill->call->scratch);
			cdp_components_tick(spill->call);
		}
	}
	count = cdp_dictionary_nodes(dictionary)->count;
	for (uint32 i = 0; i < count; i++)
	{
		write_name(spill, spill->names, cdp_dictionary_node(dictionary, i));
		if (i % READ_KEYS == 0)
			cdp_components_tick(spill->call);
	}
	check_nodes(spill, count);
	cdp_dictionary_free(dictionary);
}

static void
number_parts(CdpSpill *spill)
{
	cdp_components_phase(spill->call, "numbering");
	spill->names = create_file(spill);
	spill->call->nodes = 0;
	for (int i = 0; i < spill->files; i++)
	{
		BufFile *numbers = create_file(spill);

		rewind_file(spill->part[i]);
		if (spill->integer)
			number_ints(spill, i, numbers);
		else
			number_anys(spill, i, numbers);
		BufFileClose(spill->part[i]);
		spill->part[i] = numbers;
	}
}

/* -- step 3: join -- */

/* The numbers of one file as they are read. */
typedef struct Numbers
{
	BufFile *file;
	uint64 left; /* not read yet */
	int next; /* in the buffer */
	int held;
	uint32 buffer[READ_NUMBERS];
} Numbers;

static uint32
next_number(Numbers *numbers)
{
	if (numbers->next == numbers->held)
	{
		numbers->held = (int) Min(numbers->left, READ_NUMBERS);
		read_file(numbers->file, numbers->buffer, numbers->held * sizeof(uint32));
		numbers->left -= numbers->held;
		numbers->next = 0;
	}
	return numbers->buffer[numbers->next++];
}

static void
join(CdpSpill *spill)
{
	CdpComponents *call = spill->call;
	Size bytes = (Size) spill->nodes * sizeof(uint32);
	Numbers *numbers;
	uint64 left = spill->routes;

	cdp_components_phase(call, "joining");
	/* with more memory there may be more files, an eighth of it at most */
	if (bytes > memory_left(spill))
		cdp_components_raise_limit(call, (uint64) bytes + Max(bytes / 7, MIN_FILES * FILE_BYTES));
	spill->parent = MemoryContextAllocHuge(call->context, bytes);
	for (uint64 i = 0; i < spill->nodes; i++)
		spill->parent[i] = (uint32) i;

	numbers = MemoryContextAllocZero(call->context, spill->files * sizeof(Numbers));
	for (int i = 0; i < spill->files; i++)
	{
		numbers[i].file = spill->part[i];
		numbers[i].left = spill->part_count[i];
		rewind_file(numbers[i].file);
	}
	rewind_file(spill->route);
	while (left > 0)
	{
		size_t n = Min(left, READ_ROUTES);
		uint8 route[2 * READ_ROUTES];
		uint32_t pairs[2 * READ_ROUTES];

		read_file(spill->route, route, 2 * n);
		for (size_t i = 0; i < n; i++)
		{
			uint8 other = route[2 * i + 1];

			pairs[2 * i] = next_number(&numbers[route[2 * i]]);
			pairs[2 * i + 1] = pairs[2 * i];
			if (other != NO_FILE)
				pairs[2 * i + 1] = next_number(&numbers[other]);
		}
		cdp_core_forest_join(spill->parent, pairs, n);
		left -= n;
		cdp_components_tick(call);
	}
	for (int i = 0; i < spill->files; i++)
		BufFileClose(spill->part[i]);
	BufFileClose(spill->route);
	pfree(numbers);
}

/* -- step 4: gather components -- */

/* Roots of one file: a range of numbers. */
static uint32
roots_per_file(CdpSpill *spill)
{
	return (uint32) ((spill->nodes + spill->files - 1) / spill->files);
}

static void
write_rooted(CdpSpill *spill, uint32 number, const int64 *key, Datum node)
{
	uint32 root = spill->parent[number];
	int file = root / roots_per_file(spill);

	spill->part_count[file]++;
	if (spill->integer)
	{
		char record[ROOTED_INT_BYTES];

		memcpy(record, &root, sizeof(root));
		memcpy(record + sizeof(root), key, sizeof(int64));
		write_file(spill->part[file], record, sizeof(record));
	}
	else
	{
		write_file(spill->part[file], &root, sizeof(root));
		write_name(spill, spill->part[file], node);
	}
}

static void
gather(CdpSpill *spill)
{
	cdp_components_phase(spill->call, "labelling");
	for (int i = 0; i < spill->files; i++)
	{
		spill->part[i] = create_file(spill);
		spill->part_count[i] = 0;
	}
	rewind_file(spill->names);
	for (uint64 i = 0; i < spill->nodes;)
	{
		size_t n = Min(spill->nodes - i, READ_KEYS);
		int64 keys[READ_KEYS];

		cdp_core_forest_flatten(spill->parent, i, i + n);
		if (spill->integer)
			read_file(spill->names, keys, n * sizeof(int64));
		for (size_t j = 0; j < n; j++)
			write_rooted(spill, (uint32) (i + j), &keys[j],
						 spill->integer ? (Datum) 0 : read_name(spill, spill->names));
		i += n;
		cdp_components_tick(spill->call);
	}
	BufFileClose(spill->names);
	pfree(spill->parent);
}

/* -- step 5: emit -- */

/*
 * Two passes over a file of integers; "least" has an entry for each root of
 * the file, which the first pass sets.
 */
static void
emit_ints(CdpSpill *spill, int file, int64 *least, bool *seen)
{
	uint32 base = (uint32) file * roots_per_file(spill);

	memset(seen, 0, roots_per_file(spill) * sizeof(bool));
	for (int pass = 1; pass <= 2; pass++)
	{
		uint64 left = spill->part_count[file];

		rewind_file(spill->part[file]);
		while (left > 0)
		{
			size_t n = Min(left, READ_KEYS);
			char records[READ_KEYS * ROOTED_INT_BYTES];
			int64 pairs[2 * READ_KEYS];

			read_file(spill->part[file], records, n * ROOTED_INT_BYTES);
			for (size_t i = 0; i < n; i++)
			{
				uint32 root;

				memcpy(&root, records + i * ROOTED_INT_BYTES, sizeof(root));
				memcpy(&pairs[2 * i], records + i * ROOTED_INT_BYTES + sizeof(root),
					   sizeof(int64));
				root -= base;
				if (pass == 1 && (!seen[root] || pairs[2 * i] < least[root]))
				{
					seen[root] = true;
					least[root] = pairs[2 * i];
				}
				pairs[2 * i + 1] = least[root];
			}
			if (pass == 2)
				cdp_components_emit_int(spill->call, pairs, n);
			left -= n;
			cdp_components_tick(spill->call);
		}
	}
}

/*
 * The same for any type.  "least" points to copies; one that is replaced is
 * given back, so no more than one a component is held.
 */
static void
emit_anys(CdpSpill *spill, int file, Datum *least, bool *seen, MemoryContext copies)
{
	CdpComponents *call = spill->call;
	uint32 base = (uint32) file * roots_per_file(spill);

	memset(seen, 0, roots_per_file(spill) * sizeof(bool));
	for (int pass = 1; pass <= 2; pass++)
	{
		rewind_file(spill->part[file]);
		for (uint64 i = 0; i < spill->part_count[file]; i++)
		{
			uint32 root;
			Datum node;

			read_file(spill->part[file], &root, sizeof(root));
			node = read_name(spill, spill->part[file]);
			root -= base;
			if (pass == 2)
				cdp_components_emit(call, node, least[root]);
			else if (!seen[root] || cdp_dictionary_less(call, node, least[root]))
			{
				if (call->type.byval)
					least[root] = node;
				else
				{
					size_t size = cdp_dictionary_node_size(call, node);
					void *copy = MemoryContextAllocHuge(copies, size);

					memcpy(copy, DatumGetPointer(node), size);
					if (seen[root])
						pfree(DatumGetPointer(least[root]));
					least[root] = PointerGetDatum(copy);
				}
				seen[root] = true;
			}
			if (i % READ_KEYS == 0)
			{
				MemoryContextReset(call->scratch);
				cdp_components_tick(call);
			}
		}
	}
	MemoryContextReset(copies);
}

void
cdp_spill_finish(CdpSpill *spill)
{
	CdpComponents *call = spill->call;
	MemoryContext old = MemoryContextSwitchTo(call->scratch);
	MemoryContext copies = AllocSetContextCreate(call->context, "cdp components least",
												 ALLOCSET_DEFAULT_SIZES);
	Size entry;
	void *least;
	bool *seen;

	number_parts(spill);
	join(spill);
	gather(spill);

	cdp_components_phase(call, "returning");
	entry = spill->integer ? sizeof(int64) : sizeof(Datum);
	least = MemoryContextAllocHuge(call->context, roots_per_file(spill) * entry);
	seen = MemoryContextAllocHuge(call->context, roots_per_file(spill) * sizeof(bool));
	for (int i = 0; i < spill->files; i++)
	{
		if (spill->integer)
			emit_ints(spill, i, least, seen);
		else
			emit_anys(spill, i, least, seen, copies);
		BufFileClose(spill->part[i]);
	}
	MemoryContextSwitchTo(old);
}
