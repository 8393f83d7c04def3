/*
 * src/cdp.c
 *		Module start.
 *
 * Nothing needs shared_preload_libraries: settings are defined and callbacks
 * registered when a backend first calls into the library.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "cdp.h"
#include "column.h"
#include "compat.h"
#include "guc.h"
#include "profile/count.h"
#include "row.h"
#include "store.h"

CDP_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	cdp_guc_define();
	cdp_store_register();
	cdp_row_register();
	cdp_column_register_all();
	cdp_count_register();
}
