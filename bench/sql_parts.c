
/* See sql.h. */

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "sql.h"


#define SQL_PARAMS  (SQL_BATCH * 2 * 7)


typedef struct {
    int         n;
    MYSQL_BIND  bind[SQL_PARAMS];
} sql_params_t;


static long long   sql_one = 1, sql_two = 2, sql_zero, sql_price = 10000,
                   sql_subtotal = 20000, sql_total = 40000, sql_201 = 201;


static void
sql_hex(unsigned char *to, const char *hex)
{
    int       i;
    unsigned  b;

    for (i = 0; i < 16; i++, hex += 2) {

        hex += (*hex == '-');

        if (sscanf(hex, "%2x", &b) != 1) {
            bench_die("an id is not 16 bytes in hex");
        }

        to[i] = (unsigned char) b;
    }
}


static void
sql_ids(sql_conf_t *conf, const char *path)
{
    char    buf[256];
    FILE   *f;
    size_t  cap;

    cap = 0;
    f = fopen(path, "r");

    if (f == NULL) {
        bench_die("cannot read %s", path);
    }

    while (fgets(buf, sizeof(buf), f)) {

        if (conf->nids == cap) {
            cap = cap ? cap * 2 : 1024;
            conf->ids = realloc(conf->ids, cap * 16);

            if (conf->ids == NULL) {
                bench_die("out of memory");
            }
        }

        sql_hex(conf->ids[conf->nids++], buf);
    }

    fclose(f);
}


int
sql_options(sql_conf_t *conf, int argc, char **argv, bench_cpu_t *cpu)
{
    int  opt, n;

    n = 0;

    while ((opt = getopt(argc, argv, "S:U:D:M:c:d:w:K:E:R:P:i:p:")) != -1) {

        switch (opt) {

        case 'S': conf->socket = optarg; break;
        case 'U': conf->user = optarg; break;
        case 'D': conf->database = optarg; break;
        case 'M': conf->mode = optarg; break;
        case 'c': conf->clients = atoi(optarg); break;
        case 'd': conf->seconds = atof(optarg); break;
        case 'w': conf->warm = atof(optarg); break;
        case 'K': conf->batch = atoi(optarg); break;
        case 'E': conf->event = atoi(optarg); break;
        case 'R': conf->reply = atoi(optarg); break;
        case 'i': sql_ids(conf, optarg); break;

        case 'P':
            if (conf->nproducts < 2) {
                sql_hex(conf->product[conf->nproducts++], optarg);
            }
            break;

        case 'p':
            if (n == BENCH_GROUPS) {
                bench_die("too many -p");
            }
            cpu[n++].pids = optarg;
            break;

        default:
            exit(2);
        }
    }

    if (conf->mode == NULL || conf->clients < 1 || conf->batch < 1
        || conf->batch > SQL_BATCH
        || (strcmp(conf->mode, "create") == 0 && conf->nproducts != 2)
        || (strcmp(conf->mode, "get") == 0 && conf->nids == 0))
    {
        bench_die("see the head of bench/sql.c for the options");
    }

    return n;
}


static void
sql_failed(sql_client_t *c, MYSQL_STMT *stmt)
{
    bench_die("%u: %s", stmt ? mysql_stmt_errno(stmt)
                             : mysql_errno(c->mysql),
              stmt ? mysql_stmt_error(stmt) : mysql_error(c->mysql));
}


static void
sql_query(sql_client_t *c, const char *sql)
{
    if (mysql_real_query(c->mysql, sql, strlen(sql)) != 0) {
        sql_failed(c, NULL);
    }
}


static void
sql_bytes(sql_params_t *p, const void *data, size_t len)
{
    MYSQL_BIND  *b;

    b = &p->bind[p->n++];
    b->buffer_type = MYSQL_TYPE_BLOB;
    b->buffer = (void *) data;
    b->buffer_length = (unsigned long) len;
}


static void
sql_text(sql_params_t *p, const char *text)
{
    sql_bytes(p, text, strlen(text));
    p->bind[p->n - 1].buffer_type = MYSQL_TYPE_STRING;
}


static void
sql_number(sql_params_t *p, long long *n)
{
    MYSQL_BIND  *b;

    b = &p->bind[p->n++];
    b->buffer_type = MYSQL_TYPE_LONGLONG;
    b->buffer = n;
}


/* head, then n times row with commas between, then tail */

static void
sql_prepare(sql_client_t *c, const char *head, const char *row, int n,
    const char *tail, sql_params_t *p, int rows)
{
    int          i;
    char         sql[16384];
    size_t       len;
    MYSQL_STMT  *stmt;

    len = (size_t) snprintf(sql, sizeof(sql), "%s", head);

    for (i = 0; i < n; i++) {
        len += (size_t) snprintf(sql + len, sizeof(sql) - len, "%s%s",
                                 i ? "," : "", row);
    }

    len += (size_t) snprintf(sql + len, sizeof(sql) - len, "%s", tail);

    stmt = mysql_stmt_init(c->mysql);

    if (stmt == NULL || mysql_stmt_prepare(stmt, sql, len) != 0
        || mysql_stmt_param_count(stmt) != (unsigned long) p->n
        || mysql_stmt_bind_param(stmt, p->bind) != 0)
    {
        sql_failed(c, stmt);
    }

    c->rows[c->nstmts] = rows;
    c->stmt[c->nstmts++] = stmt;
    memset(p, 0, sizeof(sql_params_t));
}


static void
sql_execute(sql_client_t *c, int i)
{
    int          n, rc;
    MYSQL_STMT  *stmt;

    stmt = c->stmt[i];

    if (mysql_stmt_execute(stmt) != 0) {
        sql_failed(c, stmt);
    }

    if (mysql_stmt_field_count(stmt) == 0) {
        return;
    }

    for (n = 0; (rc = mysql_stmt_fetch(stmt)) != MYSQL_NO_DATA; n++) {
        if (rc == 1) {
            sql_failed(c, stmt);
        }
    }

    if (c->rows[i] >= 0 && n != c->rows[i]) {
        bench_die("a SELECT gave %d rows instead of %d", n, c->rows[i]);
    }

    mysql_stmt_free_result(stmt);
}


static uint64_t
sql_random(sql_client_t *c)
{
    /* xorshift64* */

    c->seed ^= c->seed >> 12;
    c->seed ^= c->seed << 25;
    c->seed ^= c->seed >> 27;

    return c->seed * 2685821657736338717ULL;
}


/* Ids grow with time, as UUIDv7 do; scopes and numbers are hashes. */

static void
sql_renew(sql_client_t *c, sql_order_t *o)
{
    int             i;
    uint64_t        r;
    struct timeval  tv;

    gettimeofday(&tv, NULL);
    c->now = (long long) tv.tv_sec * 1000 + tv.tv_usec / 1000;
    c->expires = c->now + 1800000;

    for (i = 0; i < 6; i++) {
        o->id[i] = (unsigned char) (c->now >> (40 - 8 * i));
    }

    r = sql_random(c);
    memcpy(o->id + 6, &r, 8);
    r = sql_random(c);
    memcpy(o->id + 14, &r, 2);

    for (i = 0; i < 32; i += 8) {
        r = sql_random(c);
        memcpy(o->scope + i, &r, 8);
    }

    /* bound as 19 bytes */
    snprintf(o->number, sizeof(o->number), "20261123-%010llX",
             (unsigned long long) (sql_random(c) >> 24));
}


static void
sql_create(sql_client_t *c)
{
    int  i;

    for (i = 0; i < c->conf->batch; i++) {
        sql_renew(c, &c->order[i]);
    }

    for (i = 0; i < c->nstmts; i++) {
        sql_execute(c, i);
    }

    sql_query(c, "COMMIT");
}


static void
sql_get(sql_client_t *c)
{
    int  i;

    memcpy(c->order[0].id, c->conf->ids[sql_random(c) % c->conf->nids], 16);

    for (i = 0; i < c->nstmts; i++) {
        sql_execute(c, i);
    }
}


static void
sql_ping(sql_client_t *c)
{
    sql_query(c, "DO 1");
}


static void
sql_prepare_orders(sql_client_t *c, int n)
{
    int            i;
    sql_order_t   *o;
    sql_params_t   p;

    memset(&p, 0, sizeof(p));

    for (i = 0; i < n; i++) {
        sql_bytes(&p, c->order[i].scope, 32);
    }

    sql_prepare(c, "SELECT scope,fingerprint,state,lease_until,resource,"
                "status,location,etag,content_type,body FROM idempotency"
                " WHERE scope IN (", "?", n, ")", &p, 0);

    sql_bytes(&p, c->conf->product[0], 16);
    sql_bytes(&p, c->conf->product[1], 16);

    sql_prepare(c, "SELECT id, name, price, currency, active, version,"
                " created_at, updated_at FROM products WHERE id IN (", "?",
                2, ")", &p, 2);

    for (i = 0; i < n; i++) {
        o = &c->order[i];
        sql_bytes(&p, o->id, 16);
        sql_bytes(&p, o->number, 19);
        p.bind[p.n - 1].buffer_type = MYSQL_TYPE_STRING;
        sql_bytes(&p, o->user, 16);
        sql_text(&p, "CREATED");
        sql_text(&p, "UNPAID");
        sql_text(&p, "KRW");
        sql_number(&p, &sql_total);
        sql_number(&p, &sql_one);
        sql_number(&p, &c->now);
        sql_number(&p, &c->now);
        sql_number(&p, &c->expires);
    }

    sql_prepare(c, "INSERT INTO orders (id, order_number, user_id, status,"
                " financial_status, currency, total_amount, version,"
                " created_at, updated_at, expires_at) VALUES ",
                "(?,?,?,?,?,?,?,?,?,?,?)", n, "", &p, -1);

    for (i = 0; i < n; i++) {
        sql_bytes(&p, c->order[i].id, 16);
        sql_bytes(&p, c->order[i].user, 16);
        sql_text(&p, "1 Sejong-daero, Jung-gu, Seoul");
    }

    sql_prepare(c, "INSERT INTO order_addresses (order_id, salt, address)"
                " VALUES ", "(?,?,?)", n, "", &p, -1);

    for (i = 0; i < 2 * n; i++) {
        sql_bytes(&p, c->order[i / 2].id, 16);
        sql_number(&p, i & 1 ? &sql_one : &sql_zero);
        sql_bytes(&p, c->conf->product[i & 1], 16);
        sql_text(&p, "Espresso beans, 1 kg");
        sql_number(&p, &sql_two);
        sql_number(&p, &sql_price);
        sql_number(&p, &sql_subtotal);
    }

    sql_prepare(c, "INSERT INTO order_items (order_id, item_no, product_id,"
                " product_name, quantity, price, subtotal) VALUES ",
                "(?,?,?,?,?,?,?)", 2 * n, "", &p, -1);
}


static void
sql_prepare_records(sql_client_t *c, int n)
{
    int            i;
    sql_order_t   *o;
    sql_params_t   p;

    memset(&p, 0, sizeof(p));

    for (i = 0; i < n; i++) {
        o = &c->order[i];
        sql_text(&p, "order");
        sql_bytes(&p, o->id, 16);
        sql_number(&p, &sql_one);
        sql_text(&p, "order.created");
        sql_bytes(&p, o->id, 16);
        sql_text(&p, c->event);
        sql_text(&p, "user:01a205b3-d000-70a0-80b0-5eed00000001");
        sql_text(&p, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
                     "-01");
        sql_bytes(&p, o->scope, 32);
        sql_number(&p, &c->now);
    }

    sql_prepare(c, "INSERT INTO events (agg_type,agg_id,version,type,pkey,"
                "data,actor,traceparent,hash,created_at) VALUES ",
                "(?,?,?,?,?,?,?,?,?,?)", n, "", &p, -1);

    for (i = 0; i < n; i++) {
        o = &c->order[i];
        sql_bytes(&p, o->scope, 32);
        sql_bytes(&p, o->scope, 32);
        sql_number(&p, &sql_one);
        sql_number(&p, &c->now);
        sql_number(&p, &sql_201);
        sql_text(&p, "/api/orders/01a205b3-d000-70a0-80b0-5eed00000001");
        sql_text(&p, "\"01a205b3-d000-70a0-80b0-5eed00000001-1\"");
        sql_text(&p, "application/json");
        sql_text(&p, c->reply);
        sql_number(&p, &c->now);
    }

    sql_prepare(c, "INSERT INTO idempotency (scope,fingerprint,state,"
                "lease_until,status,location,etag,content_type,body,"
                "created_at) VALUES ", "(?,?,?,?,?,?,?,?,?,?)", n, "", &p,
                -1);
}


static void
sql_prepare_get(sql_client_t *c)
{
    sql_params_t  p;

    memset(&p, 0, sizeof(p));
    sql_bytes(&p, c->order[0].id, 16);

    sql_prepare(c, "SELECT id, order_number, user_id, status,"
                " financial_status, pending_operation, currency,"
                " total_amount, captured_amount, refunded_amount,"
                " refunds_open, payment_id, failure_reason, version,"
                " created_at, updated_at, expires_at FROM orders WHERE id IN"
                " (", "?", 1, ")", &p, 1);

    sql_bytes(&p, c->order[0].id, 16);

    sql_prepare(c, "SELECT order_id, salt, address FROM order_addresses"
                " WHERE order_id IN (", "?", 1, ")", &p, 1);

    sql_bytes(&p, c->order[0].id, 16);

    sql_prepare(c, "SELECT order_id, product_id, product_name, quantity,"
                " price, subtotal FROM order_items WHERE order_id IN (", "?",
                1, ") ORDER BY order_id, item_no", &p, 2);
}


static char *
sql_filler(int n)
{
    int    i;
    char  *p;

    p = malloc((size_t) n + 1);

    if (p == NULL) {
        bench_die("out of memory");
    }

    for (i = 0; i < n; i++) {
        p[i] = (char) ('a' + i % 26);
    }

    p[n] = '\0';

    return p;
}


void
sql_connect(sql_client_t *c)
{
    const sql_conf_t  *conf;

    conf = c->conf;
    c->mysql = mysql_init(NULL);
    c->event = sql_filler(conf->event);
    c->reply = sql_filler(conf->reply);

    if (c->mysql == NULL
        || mysql_options(c->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4")
        || mysql_real_connect(c->mysql, NULL, conf->user, NULL,
                              conf->database, 0, conf->socket, 0)
           == NULL)
    {
        sql_failed(c, NULL);
    }

    sql_query(c, "SET SESSION tx_isolation='READ-COMMITTED'");

    if (strcmp(conf->mode, "create") == 0) {
        sql_query(c, "SET autocommit=0");
        sql_prepare_orders(c, conf->batch);
        sql_prepare_records(c, conf->batch);
        c->run = sql_create;

    } else if (strcmp(conf->mode, "get") == 0) {
        sql_prepare_get(c);
        c->run = sql_get;

    } else {
        c->run = sql_ping;
    }
}


void
sql_disconnect(sql_client_t *c)
{
    int  i;

    for (i = 0; i < c->nstmts; i++) {
        mysql_stmt_close(c->stmt[i]);
    }

    mysql_close(c->mysql);
    mysql_thread_end();
    free(c->event);
    free(c->reply);
}
