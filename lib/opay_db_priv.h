
/*
 * opay_db's inside, shared by opay_db.c (connection, transaction),
 * opay_db_stmt.c (statements, results), opay_db_rows.c (statements over many
 * rows) and opay_db_error.c (classification).
 */

#ifndef OPAY_DB_PRIV_H_INCLUDED
#define OPAY_DB_PRIV_H_INCLUDED

#include <mysql.h>

#include "opay_db.h"


/* The flag type of MYSQL_BIND: char in MariaDB's header, bool in MySQL's. */
typedef __typeof__(*((MYSQL_BIND *) 0)->is_null)  opay_db_flag_t;


#define OPAY_DB_BUCKETS    128         /* powers of two */
#define OPAY_DB_FAST       64
#define OPAY_DB_STMTS_MAX  512
#define OPAY_DB_ROWS_MAX   64          /* rows of one prepared text */


typedef struct {
    unsigned          number;          /* I64, else BYTES */
    opay_db_flag_t    null;
    opay_db_flag_t    truncated;
    unsigned long     length;
    long long         i64;
    char             *buf;
} opay_db_column_t;


typedef struct opay_db_stmt_s  opay_db_stmt_t;

struct opay_db_stmt_s {
    opay_db_stmt_t    *next;           /* in its bucket */
    uint64_t           hash;
    size_t             len;
    char              *sql;            /* NUL-terminated copy */
    MYSQL_STMT        *stmt;
    size_t             nparams;
    size_t             ncols;
    MYSQL_BIND        *binds;          /* ncols */
    opay_db_column_t  *cols;
};


typedef struct {
    const char        *sql;            /* the caller's pointer */
    opay_db_stmt_t    *stmt;
} opay_db_fast_t;


struct opay_db_s {
    const opay_db_conf_t  *conf;
    MYSQL                 *mysql;      /* NULL: not connected */
    uint64_t               insert_id;
    int64_t                retry_at;   /* monotonic; no connect before */

    /* transaction as the caller sees it */
    unsigned               in_tx;
    unsigned               tx_used;    /* the server has one under way */
    opay_db_rc_t           tx_rc;      /* it is lost: all but rollback fail */
    unsigned               autocommit; /* of the session */

    unsigned               err;
    char                   error[256];

    /* parameters of one execution, and a text put together for it */
    MYSQL_BIND            *binds;
    size_t                 nbinds;
    char                  *text;
    size_t                 text_size;

    size_t                 nstmts;
    opay_db_stmt_t        *stmts[OPAY_DB_BUCKETS];
    opay_db_fast_t         fast[OPAY_DB_FAST];
};


/* opay_db.c: connected, and inside or outside a transaction as it should. */
opay_db_rc_t opay_db_ready(opay_db_t *db);

/*
 * opay_db.c: takes note of a failure (of stmt, or of the connection when
 * NULL): remembers number and text, drops what is beyond use, and makes the
 * transaction refuse to go on when the server no longer has it.
 */
opay_db_rc_t opay_db_failed(opay_db_t *db, MYSQL_STMT *stmt);

/* A failure of our own, as out of memory: OPAY_DB_ERROR. */
opay_db_rc_t opay_db_fault(opay_db_t *db, const char *text);

/* opay_db_stmt.c */
void opay_db_stmts_close(opay_db_t *db);

/*
 * opay_db_stmt.c: executes, with n rows of cols parameters; beyond them the
 * last row is repeated up to padded rows.  Leaves a result to be fetched.
 * NULL: failed, *rc says how.
 */
opay_db_stmt_t *opay_db_run(opay_db_t *db, const char *sql,
    const opay_db_value_t *params, size_t cols, size_t n, size_t padded,
    opay_db_rc_t *rc);

/* opay_db_stmt.c: appends all rows of st to res, which has room for *cap. */
opay_db_rc_t opay_db_fetch(opay_db_t *db, opay_arena_t *a,
    opay_db_stmt_t *st, opay_db_result_t *res, size_t *cap);

/* opay_db_error.c */
opay_db_rc_t opay_db_classify(unsigned err);

/* Copies of a server's message what tells no value and no SQL. */
void opay_db_describe(char *dst, size_t size, unsigned err,
    const char *sqlstate, const char *message);


#endif /* OPAY_DB_PRIV_H_INCLUDED */
