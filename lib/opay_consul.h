
/*
 * opay_consul: what goes over the wire to a Consul agent; no I/O.
 */

#ifndef OPAY_CONSUL_H_INCLUDED
#define OPAY_CONSUL_H_INCLUDED

#include "opay_peers.h"


/*
 * Reads the answer of /v1/health/service/<name> (without ?passing).  An entry
 * that cannot be understood is skipped and counted.  OPAY_ERROR: not a JSON
 * array at all; the list is empty then and must not be used.
 *
 * A node or service under maintenance: MAINT, weight 0.  Otherwise the worst
 * check decides: critical, warning (Weights.Warning), passing.
 */
int opay_consul_parse_health(opay_peers_t *list, const char *json,
    size_t len);


/* Strings are NUL-terminated. */
typedef struct {
    const char  *id;
    const char  *name;
    const char  *address;
    unsigned     port;
    const char  *check;            /* URL of the HTTP check */
    unsigned     interval;         /* ms between checks */
} opay_consul_service_t;

/*
 * Body of PUT /v1/agent/service/register; malloc()ed, NUL-terminated.  NULL:
 * out of memory, or a string that is not UTF-8.
 */
char *opay_consul_register_json(const opay_consul_service_t *s);


/*
 * Index of the next blocking query after an answer with X-Consul-Index
 * `header` (NULL: none) to a query with index `old`.  0 asks for the whole
 * list at once.
 */
uint64_t opay_consul_next_index(uint64_t old, const char *header, size_t len);


#endif /* OPAY_CONSUL_H_INCLUDED */
