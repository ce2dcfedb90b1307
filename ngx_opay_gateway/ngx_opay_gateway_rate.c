
/*
 * DESIGN
 *
 * opay_rate_limit: one bucket per user, or per address where nobody is known.
 * The zone is a table of fixed size, made once: rows of eight keys, the row
 * by hash.  A new key takes the place of the one whose bucket is fullest, so
 * only a row with eight busy keys can forget one.  A reload with the same
 * size keeps the table.
 *
 * Guarded by the zone's mutex; event loop of any worker.
 */

#include "ngx_opay_gateway.h"


#define NGX_OPAY_RATE_ROW   8
#define NGX_OPAY_RATE_SIZE  (1024 * 1024)

#define NGX_OPAY_RATE_USER  1
#define NGX_OPAY_RATE_IP    2


typedef struct {
    u_char                key[16];
    int64_t               full;        /* 0: free */
    uint64_t              kind;
} ngx_opay_rate_cell_t;


typedef struct {
    ngx_uint_t            rows;
    ngx_opay_rate_cell_t  cells[1];
} ngx_opay_rate_table_t;


static ngx_int_t ngx_opay_gateway_rate_init(ngx_shm_zone_t *zone, void *data);
static char *ngx_opay_gateway_rate_zone(ngx_conf_t *cf,
    ngx_opay_gateway_rate_t *rate, size_t size);
static char *ngx_opay_gateway_rate_policy(ngx_conf_t *cf,
    ngx_opay_gateway_rate_t *rate);
static ngx_uint_t ngx_opay_gateway_rate_key(ngx_http_request_t *r,
    const opay_identity_t *id, u_char *key);
static ngx_opay_rate_cell_t *ngx_opay_gateway_rate_cell(
    ngx_opay_rate_table_t *table, const u_char *key, uint64_t kind);


char *
ngx_opay_gateway_rate_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_gateway_conf_t  *gcf = conf;

    char                     *rv;
    ssize_t                   size;
    ngx_int_t                 n;
    ngx_str_t                *value, s;
    ngx_uint_t                i;
    ngx_opay_gateway_rate_t  *rate;

    (void) cmd;

    if (gcf->rate) {
        return "is duplicate";
    }

    rate = ngx_pcalloc(cf->pool, sizeof(ngx_opay_gateway_rate_t));
    if (rate == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (opay_rate_parse(&rate->rate, (char *) value[1].data, value[1].len)
        != OPAY_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rate \"%V\", <number>r/s or <number>r/m "
                           "is expected", &value[1]);
        return NGX_CONF_ERROR;
    }

    size = NGX_OPAY_RATE_SIZE;

    for (i = 2; i < cf->args->nelts; i++) {

        s = value[i];

        if (s.len > 6 && ngx_strncmp(s.data, "burst=", 6) == 0) {
            n = ngx_atoi(s.data + 6, s.len - 6);

            if (n > 0 && n <= 1000000) {
                rate->rate.burst = n;
                continue;
            }

        } else if (s.len > 5 && ngx_strncmp(s.data, "size=", 5) == 0) {
            s.data += 5;
            s.len -= 5;
            size = ngx_parse_size(&s);

            if (size >= (ssize_t) (8 * ngx_pagesize)) {
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    rv = ngx_opay_gateway_rate_policy(cf, rate);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    gcf->rate = rate;

    return ngx_opay_gateway_rate_zone(cf, rate, size);
}


/* A zone per directive, found again by its number after a reload. */

static char *
ngx_opay_gateway_rate_zone(ngx_conf_t *cf, ngx_opay_gateway_rate_t *rate,
    size_t size)
{
    ngx_str_t    name;
    ngx_uint_t  *n;

    n = ngx_http_conf_get_module_main_conf(cf, ngx_opay_gateway_module);

    name.data = ngx_pnalloc(cf->pool, 32);
    if (name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    name.len = ngx_sprintf(name.data, "opay_rate_limit_%ui", ++*n)
               - name.data;

    rate->zone = ngx_shared_memory_add(cf, &name, size,
                                       &ngx_opay_gateway_module);
    if (rate->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    rate->zone->init = ngx_opay_gateway_rate_init;
    rate->zone->data = rate;

    return NGX_CONF_OK;
}


/* draft-ietf-httpapi-ratelimit-headers-11 */

static char *
ngx_opay_gateway_rate_policy(ngx_conf_t *cf, ngx_opay_gateway_rate_t *rate)
{
    u_char      *p;
    ngx_uint_t   i;

    static const char  *names[] = { "user", "ip" };

    for (i = 0; i < 2; i++) {

        p = ngx_pnalloc(cf->pool, 64);
        if (p == NULL) {
            return NGX_CONF_ERROR;
        }

        rate->policy[i].data = p;
        rate->policy[i].len = ngx_sprintf(p, "\"%s\";q=%ud;w=%ud", names[i],
                                          rate->rate.burst,
                                          opay_rate_window(&rate->rate))
                              - p;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_opay_gateway_rate_init(ngx_shm_zone_t *zone, void *data)
{
    size_t                  size;
    ngx_uint_t              rows;
    ngx_slab_pool_t        *pool;
    ngx_opay_rate_table_t  *table;

    pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {
        return NGX_OK;
    }

    /* what the slab allocator can give in one piece */

    size = (pool->end - pool->start) - 2 * ngx_pagesize;
    rows = (size - sizeof(ngx_opay_rate_table_t))
           / (NGX_OPAY_RATE_ROW * sizeof(ngx_opay_rate_cell_t));

    table = ngx_slab_calloc(pool, size);
    if (table == NULL) {
        return NGX_ERROR;
    }

    table->rows = rows;
    pool->data = table;

    return NGX_OK;
}


ngx_int_t
ngx_opay_gateway_rate_check(ngx_http_request_t *r,
    ngx_opay_gateway_rate_t *rate, const opay_identity_t *id,
    ngx_uint_t *seconds)
{
    u_char                 key[16], *p;
    ngx_uint_t             kind;
    ngx_slab_pool_t       *pool;
    opay_rate_left_t       left;
    ngx_opay_rate_cell_t  *cell;

    pool = (ngx_slab_pool_t *) rate->zone->shm.addr;

    kind = ngx_opay_gateway_rate_key(r, id, key);

    ngx_shmtx_lock(&pool->mutex);

    cell = ngx_opay_gateway_rate_cell(pool->data, key, kind);

    /* milliseconds since boot: the same for all workers, never set back */

    opay_rate_take(&rate->rate, &cell->full,
                   (int64_t) ngx_current_msec * 1000, &left);

    ngx_shmtx_unlock(&pool->mutex);

    *seconds = left.reset;

    p = ngx_pnalloc(r->pool, 64);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_opay_header_out(r, "RateLimit-Policy", 16,
                            (char *) rate->policy[kind - 1].data,
                            rate->policy[kind - 1].len)
        != NGX_OK
        || ngx_opay_header_out(r, "RateLimit", 9, (char *) p,
                               ngx_sprintf(p, "\"%s\";r=%ud;t=%ud",
                                           kind == NGX_OPAY_RATE_USER
                                           ? "user" : "ip",
                                           left.remaining, left.reset)
                               - p)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return left.allowed ? NGX_OK : NGX_BUSY;
}


static ngx_uint_t
ngx_opay_gateway_rate_key(ngx_http_request_t *r, const opay_identity_t *id,
    u_char *key)
{
    struct sockaddr_in   *sin;

#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(key, 16);

    if (id->known) {
        ngx_memcpy(key, id->user.b, 16);
        return NGX_OPAY_RATE_USER;
    }

    switch (r->connection->sockaddr->sa_family) {

#if (NGX_HAVE_INET6)

    case AF_INET6:

        /* one subscriber has a /64 */

        sin6 = (struct sockaddr_in6 *) r->connection->sockaddr;
        ngx_memcpy(key, &sin6->sin6_addr, 8);
        key[15] = 6;
        break;

#endif

    case AF_INET:
        sin = (struct sockaddr_in *) r->connection->sockaddr;
        ngx_memcpy(key, &sin->sin_addr, 4);
        break;

    default:
        break;
    }

    return NGX_OPAY_RATE_IP;
}


static ngx_opay_rate_cell_t *
ngx_opay_gateway_rate_cell(ngx_opay_rate_table_t *table, const u_char *key,
    uint64_t kind)
{
    uint32_t               hash;
    ngx_uint_t             i;
    ngx_opay_rate_cell_t  *cell, *oldest;

    hash = ngx_murmur_hash2((u_char *) key, 16);

    cell = &table->cells[(hash % table->rows) * NGX_OPAY_RATE_ROW];
    oldest = cell;

    for (i = 0; i < NGX_OPAY_RATE_ROW; i++) {

        if (cell[i].kind == kind && ngx_memcmp(cell[i].key, key, 16) == 0) {
            return &cell[i];
        }

        if (cell[i].full < oldest->full) {
            oldest = &cell[i];
        }
    }

    ngx_memcpy(oldest->key, key, 16);
    oldest->kind = kind;
    oldest->full = 0;

    return oldest;
}
