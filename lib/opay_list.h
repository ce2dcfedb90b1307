
/*
 * opay_list: the filters that lists of orders and of payments share.
 * Pure functions over a call, on the event loop; faults go on the call.
 */

#ifndef OPAY_LIST_H_INCLUDED
#define OPAY_LIST_H_INCLUDED

#include "opay_base.h"
#include "opay_call.h"


/*
 * Whose rows: *has_user 0 means everybody's, which only an ADMIN who names
 * nobody gets.  A user may name himself only: else 403.
 */
void opay_list_user(opay_call_t *call, unsigned *has_user, opay_uuid_t *user);

/*
 * Name of the wanted status: of the path (the route's first parameter) or of
 * the argument `status`; both is a fault.  data NULL: any status.
 */
opay_str_t opay_list_status(opay_call_t *call);

/* An RFC 3339 argument; 1 and *ms when it is there and good, else 0. */
unsigned opay_list_time(opay_call_t *call, const char *name, int64_t *ms);


#endif /* OPAY_LIST_H_INCLUDED */
