/*
 * src/identity/components_int.c
 *		Components of integers for cdp.connected_components: in memory as long
 *		as maintenance_work_mem allows, then on disk.
 *
 * What memory held when it was full goes to disk as edges too: one for each
 * node, to the node it hangs on.
 */
#include "postgres.h"

#include "core/components.h"
#include "identity/components.h"

/* Pairs taken out at a time. */
#define CHUNK 1024

struct CdpIntEdges
{
	CdpComponents *call;
	CdpCoreComponents core;
	CdpSpill *spill; /* once memory was full; then core is empty */
};

CdpIntEdges *
cdp_components_int_begin(CdpComponents *call)
{
	CdpIntEdges *edges = palloc0(sizeof(CdpIntEdges));

	edges->call = call;
	cdp_core_components_init(&edges->core, &call->host, call->limit);
	cdp_core_components_expect(&edges->core, call->expected);
	return edges;
}

static void
go_to_disk(CdpIntEdges *edges)
{
	uint64_t position = 0;
	int64_t pairs[2 * CHUNK];
	size_t n;

	edges->spill = cdp_spill_create(edges->call);
	while ((n = cdp_core_components_read(&edges->core, &position, pairs, CHUNK)) > 0)
	{
		cdp_spill_add_int(edges->spill, pairs, n);
		cdp_components_tick(edges->call);
	}
	cdp_core_components_free(&edges->core);
}

void
cdp_components_int_add(CdpIntEdges *edges, const int64 *ends, size_t count)
{
	size_t done = 0;

	if (edges->spill == NULL)
	{
		CdpCoreStatus status = cdp_core_components_add(&edges->core, ends, count, &done);

		edges->call->nodes = cdp_core_components_count(&edges->core);
		if (status == CDP_CORE_LIMIT)
			go_to_disk(edges);
		else
			cdp_components_raise(edges->call, status);
	}
	if (edges->spill != NULL)
		cdp_spill_add_int(edges->spill, ends + 2 * done, count - done);
}

void
cdp_components_int_finish(CdpIntEdges *edges)
{
	CdpComponents *call = edges->call;
	uint64_t position = 0;
	int64_t pairs[2 * CHUNK];
	size_t n;

	if (edges->spill != NULL)
	{
		cdp_spill_finish(edges->spill);
		return;
	}
	cdp_components_phase(call, "labelling");
	cdp_components_raise(call, cdp_core_components_label(&edges->core));
	cdp_components_phase(call, "returning");
	while ((n = cdp_core_components_read(&edges->core, &position, pairs, CHUNK)) > 0)
	{
		cdp_components_emit_int(call, pairs, n);
		cdp_components_tick(call);
	}
	cdp_core_components_free(&edges->core);
}
