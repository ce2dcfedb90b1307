
/* Parts of opay-bench-sql: options, connections, statements. */

#ifndef OPAY_BENCH_SQL_H_INCLUDED
#define OPAY_BENCH_SQL_H_INCLUDED


#include <mysql.h>
#include <stdint.h>

#include "bench.h"


#define SQL_BATCH  64
#define SQL_STMTS  8


typedef struct {
    const char     *socket;
    const char     *user;
    const char     *database;
    const char     *mode;
    int             clients;
    int             batch;
    int             event;
    int             reply;
    double          seconds;
    double          warm;
    int             nproducts;
    unsigned char   product[2][16];
    size_t          nids;
    unsigned char (*ids)[16];
} sql_conf_t;


/* The values of one order; id, number and scope are new each time. */
typedef struct {
    unsigned char   id[16];
    unsigned char   user[16];
    unsigned char   scope[32];
    char            number[20];
} sql_order_t;


typedef struct sql_client_s  sql_client_t;

struct sql_client_s {
    const sql_conf_t  *conf;
    uint64_t           seed;
    MYSQL             *mysql;
    MYSQL_STMT        *stmt[SQL_STMTS];
    int                nstmts;
    int                rows[SQL_STMTS];   /* a SELECT must give; else -1 */
    long long          now;
    long long          expires;
    char              *event;
    char              *reply;
    sql_order_t        order[SQL_BATCH];
    bench_hist_t       hist;
    void             (*run)(sql_client_t *c);
};


int sql_options(sql_conf_t *conf, int argc, char **argv, bench_cpu_t *cpu);

void sql_connect(sql_client_t *c);
void sql_disconnect(sql_client_t *c);


#endif /* OPAY_BENCH_SQL_H_INCLUDED */
