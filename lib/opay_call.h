
/*
 * opay_call: one unit of work on its way through a service, and its outcome.
 *
 * DESIGN
 *
 * A call is what a request becomes once its body is read: plain memory, all
 * of it in the call's own arena, so it can be handed between the event loop
 * and pool threads, outlive the client's connection and be written to by
 * operations that know nothing of nginx.  Background jobs use the same type
 * without a request behind it.
 *
 * Whoever runs the current step owns the call: the event loop before submit
 * and after completion, one pool thread in between.  The inputs are not
 * changed after decode.  An operation sets the outcome with opay_call_reply()
 * or opay_call_fail(); status 0 means "not decided yet: go on with the next
 * step".
 */

#ifndef OPAY_CALL_H_INCLUDED
#define OPAY_CALL_H_INCLUDED

#include <jansson.h>

#include "opay_base.h"


/*
 * Every problem code of the public contract; opay_problem.c maps each to
 * HTTP status and title.
 */
typedef enum {
    OPAY_E_NONE = 0,
    OPAY_E_VALIDATION_FAILED,          /* 400 */
    OPAY_E_MALFORMED_JSON,             /* 400 */
    OPAY_E_IDEMPOTENCY_KEY_MISSING,    /* 400 */
    OPAY_E_BAD_REQUEST,                /* 400 */
    OPAY_E_UNAUTHENTICATED,            /* 401 */
    OPAY_E_INVALID_CREDENTIALS,        /* 401 */
    OPAY_E_INVALID_TOKEN,              /* 401 */
    OPAY_E_REFRESH_TOKEN_INVALID,      /* 401 */
    OPAY_E_PAYMENT_DECLINED,           /* 402 */
    OPAY_E_FORBIDDEN,                  /* 403 */
    OPAY_E_NOT_FOUND,                  /* 404 */
    OPAY_E_METHOD_NOT_ALLOWED,         /* 405 */
    OPAY_E_EMAIL_TAKEN,                /* 409 */
    OPAY_E_ORDER_NOT_EDITABLE,         /* 409 */
    OPAY_E_ORDER_NOT_CANCELLABLE,      /* 409 */
    OPAY_E_ORDER_NOT_PAYABLE,          /* 409 */
    OPAY_E_PAYMENT_IN_PROGRESS,        /* 409 */
    OPAY_E_ILLEGAL_TRANSITION,         /* 409 */
    OPAY_E_IDEMPOTENCY_IN_PROGRESS,    /* 409 */
    OPAY_E_ORDER_NOT_YET_KNOWN,        /* 409 */
    OPAY_E_VERSION_MISMATCH,           /* 412 */
    OPAY_E_PAYLOAD_TOO_LARGE,          /* 413 */
    OPAY_E_UNSUPPORTED_MEDIA_TYPE,     /* 415 */
    OPAY_E_IDEMPOTENCY_KEY_REUSED,     /* 422 */
    OPAY_E_PRECONDITION_REQUIRED,      /* 428 */
    OPAY_E_RATE_LIMITED,               /* 429 */
    OPAY_E_INTERNAL_ERROR,             /* 500 */
    OPAY_E_UPSTREAM_UNAVAILABLE,       /* 502 */
    OPAY_E_OVERLOADED,                 /* 503 */
    OPAY_E_UNAVAILABLE,                /* 503 */
    OPAY_E_UPSTREAM_TIMEOUT,           /* 504 */
    OPAY_E_MAX
} opay_code_e;

typedef struct {
    int          status;
    const char  *code;                 /* "validation_failed" */
    const char  *title;                /* "The request is not valid" */
} opay_code_info_t;

const opay_code_info_t *opay_code_info(opay_code_e code);

/* The code that stands for a bare HTTP status (nginx's own errors). */
opay_code_e opay_code_of_status(int status);


#define OPAY_ROLE_BIT_USER   0x1
#define OPAY_ROLE_BIT_ADMIN  0x2

/* Who is calling, out of a verified access token. */
typedef struct {
    unsigned     known;                /* 0: anonymous */
    opay_uuid_t  user;                 /* sub */
    opay_uuid_t  session;              /* sid */
    unsigned     roles;                /* OPAY_ROLE_BIT_* */
    int64_t      expires;              /* exp, seconds since the epoch */
} opay_identity_t;


typedef struct {
    const char           *pointer;     /* RFC 6901, "/items/0/quantity" */
    const char           *code;        /* "required", "type", "range", ... */
    const char           *detail;
} opay_field_error_t;

#define OPAY_CALL_PARAMS  4
#define OPAY_CALL_ERRORS  16

/* Value of Idempotency-Key, prepared by core. */
typedef struct {
    unsigned     present;
    uint8_t      scope[32];            /* SHA-256(user, method, route, key) */
    uint8_t      fingerprint[32];      /* SHA-256(method, path, body, user) */
    unsigned     resuming;             /* an earlier run left it in flight */
    unsigned     open;                 /* row is in flight, ours to finish */
    opay_uuid_t  resource;             /* what the earlier run had made */
    int64_t      lease;                /* core: lease_until of our row */
    unsigned     wrote;                /* core: what this step did to it */
} opay_idem_t;


typedef struct opay_call_s  opay_call_t;

struct opay_call_s {
    opay_arena_t       *arena;         /* owns all that is reachable here */
    const void         *conf;          /* the service's own conf, immutable */

    /* request; empty for background jobs */
    opay_str_t          method;
    opay_str_t          route;         /* template, "/api/orders/{id}" */
    opay_str_t          path;          /* decoded */
    opay_str_t          query;         /* raw, without "?" */
    opay_str_t          param[OPAY_CALL_PARAMS];
    opay_str_t          if_match;
    opay_str_t          user_agent;
    opay_str_t          client_ip;
    json_t             *body;          /* strict, or NULL */
    opay_identity_t     who;
    opay_str_t          peer;          /* mTLS caller on internal routes */
    opay_idem_t         idem;
    char                traceparent[56];
    char                request_id[33];
    int64_t             now;           /* wall clock at admission, ms */

    /* decode's result, and whatever steps hand to each other */
    void               *cmd;

    /* outcome */
    int                 status;        /* 0: not decided */
    opay_code_e         code;          /* problem, or OPAY_E_NONE */
    const char         *detail;
    opay_field_error_t  errors[OPAY_CALL_ERRORS];
    unsigned            nerrors;
    opay_str_t          reply;         /* body, ready to send */
    opay_str_t          location;
    opay_str_t          etag;
    opay_str_t          content_type;  /* empty: application/json */
    opay_str_t          problem_extra; /* raw `"name":value` members */
    unsigned            retry_after;   /* s, 0: none */
    unsigned            replayed;      /* Idempotent-Replayed: true */
    unsigned            no_store;      /* Cache-Control: no-store */
    unsigned            wrote;         /* something was written: see events */
};


/* body is kept, not copied: it must live in the arena or for ever. */
void opay_call_reply(opay_call_t *call, int status, opay_str_t body);

/* detail is kept, not copied.  Sets status from the code's table row. */
void opay_call_fail(opay_call_t *call, opay_code_e code, const char *detail);

/*
 * Adds to `errors` and makes the outcome 400 validation_failed.  pointer and
 * detail are copied into the arena.  More than OPAY_CALL_ERRORS are dropped.
 */
void opay_call_invalid(opay_call_t *call, const char *pointer,
    const char *code, const char *detail);

/* Takes back the outcome, so that a call can run again. */
void opay_call_reset(opay_call_t *call);

/*
 * Renders the RFC 9457 body of a failed call into its arena (a no-op when a
 * reply is already there).  instance = path; traceId from traceparent.
 */
int opay_call_render_problem(opay_call_t *call);

/* The value of a query argument, percent-decoded; data NULL when absent. */
opay_str_t opay_call_arg(opay_call_t *call, const char *name);

/* ETag `"<version>"` into the arena. */
void opay_call_etag(opay_call_t *call, int64_t version);


#endif /* OPAY_CALL_H_INCLUDED */
