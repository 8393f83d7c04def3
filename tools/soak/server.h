/*
 * tools/soak/server.h
 *		The server that is compared with the model.
 */
#ifndef SERVER_H
#define SERVER_H

#include "model.h"

/* Why links are refused is compared, too. */
extern bool compare_words;

extern void server_open(const char *conninfo, const char *invariants);
extern void server_reset(const World *w);
extern bool server_alive(void);
extern const Answer *server_do(const World *w, Time now, const char *sql);
extern const Answer *server_change(const World *w, Time now, const char *sql);
extern bool server_compare(const Model *m);
extern bool server_check_invariants(void);

#endif /* SERVER_H */
