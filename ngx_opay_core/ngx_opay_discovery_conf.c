
/* Directives of discovery, read and checked: see ngx_opay_discovery.h. */

#include "ngx_opay_discovery.h"


#define NGX_OPAY_CHECK_INTERVAL  2000


static char *ngx_opay_register_params(ngx_conf_t *cf, ngx_opay_register_t *reg,
    ngx_str_t *port, ngx_str_t *interval);
static char *ngx_opay_register_id(ngx_conf_t *cf, ngx_opay_register_t *reg);
static char *ngx_opay_discovery_param(ngx_conf_t *cf, ngx_str_t *value,
    const char *name, ngx_str_t *out);
static ngx_uint_t ngx_opay_discovery_name(ngx_str_t *name, size_t max);


ngx_opay_peers_conf_t *
ngx_opay_discovery_add(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_opay_peers_conf_t      **s, *service;
    ngx_opay_discovery_conf_t   *dcf;

    dcf = ngx_http_conf_get_module_main_conf(cf, ngx_opay_discovery_module);

    if (!ngx_opay_discovery_name(name, NGX_OPAY_NAME_MAX)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid service name \"%V\"", name);
        return NULL;
    }

    s = dcf->services.elts;

    for (i = 0; i < dcf->services.nelts; i++) {
        if (s[i]->name.len == name->len
            && ngx_memcmp(s[i]->name.data, name->data, name->len) == 0)
        {
            return s[i];
        }
    }

    if (dcf->services.nelts == NGX_OPAY_SERVICES_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d services are watched",
                           NGX_OPAY_SERVICES_MAX);
        return NULL;
    }

    service = ngx_pcalloc(cf->pool, sizeof(ngx_opay_peers_conf_t));
    s = ngx_array_push(&dcf->services);

    if (service == NULL || s == NULL
        || ngx_opay_discovery_need_zone(cf, dcf) != NGX_OK)
    {
        return NULL;
    }

    service->name = *name;
    *s = service;

    return service;
}


char *
ngx_opay_discovery_fallback(ngx_conf_t *cf, ngx_opay_peers_conf_t *s,
    ngx_str_t *value)
{
    opay_peer_t  peer;

    if (value->len <= 9
        || ngx_strncmp(value->data, "fallback=", 9) != 0
        || opay_peer_parse(&peer, (char *) value->data + 9, value->len - 9)
           != OPAY_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", "
                           "fallback=<ip>:<port> is expected", value);
        return NGX_CONF_ERROR;
    }

    peer.id = s->fallback.n + 1;

    if (opay_peers_add(&s->fallback, &peer) != OPAY_OK) {
        return "has too many fallback addresses";
    }

    return NGX_CONF_OK;
}


char *
ngx_opay_consul_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_discovery_conf_t  *dcf = conf;

    u_char     *p, *last, *text;
    ngx_str_t  *value;

    (void) cmd;

    if (dcf->consul.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    p = value[1].data;
    last = p + value[1].len;

    if (value[1].len && last[-1] == '/') {
        value[1].len--;
        last--;
    }

    if (ngx_strncmp(p, "http://", 7) == 0) {
        p += 7;

    } else if (ngx_strncmp(p, "https://", 8) == 0) {
        p += 8;

    } else {
        p = last;
    }

    for (text = p; text < last; text++) {
        if (*text <= ' ' || *text == '/' || *text == '?' || *text == '@'
            || *text == '#')
        {
            break;
        }
    }

    if (p == last || text != last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid agent \"%V\", "
                           "http://<host>:<port> is expected", &value[1]);
        return NGX_CONF_ERROR;
    }

    dcf->consul = value[1];
    dcf->consul.data[dcf->consul.len] = '\0';

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_opay_discovery_param(cf, &value[2], "token_file=",
                                 &dcf->token_file)
        != NGX_CONF_OK
        || ngx_conf_full_name(cf->cycle, &dcf->token_file, 1) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_opay_state_dir(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_discovery_conf_t  *dcf = conf;

    ngx_str_t       *value;
    ngx_file_info_t  fi;

    (void) cmd;

    if (dcf->state_dir.len) {
        return "is duplicate";
    }

    value = cf->args->elts;
    dcf->state_dir = value[1];

    if (ngx_conf_full_name(cf->cycle, &dcf->state_dir, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_file_info(dcf->state_dir.data, &fi) == NGX_FILE_ERROR
        || !ngx_is_dir(&fi))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a directory", &dcf->state_dir);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_opay_register(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_discovery_conf_t  *dcf = conf;

    char                 *rv;
    ngx_int_t             n;
    ngx_str_t             port, interval;
    opay_peer_t           peer;
    ngx_opay_register_t  *reg;

    (void) cmd;

    if (dcf->registers.nelts == NGX_OPAY_REGISTERS_MAX) {
        return "is given too often";
    }

    reg = ngx_array_push(&dcf->registers);
    if (reg == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(reg, sizeof(ngx_opay_register_t));
    ngx_str_null(&port);
    ngx_str_null(&interval);

    rv = ngx_opay_register_params(cf, reg, &port, &interval);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (!ngx_opay_discovery_name(&reg->name, NGX_OPAY_NAME_MAX)) {
        return "needs name=<service>, of letters, digits and \"-\"";
    }

    n = ngx_atoi(port.data, port.len);

    if (reg->address.len == 0
        || opay_peer_addr(&peer, (char *) reg->address.data, n) != OPAY_OK)
    {
        return "needs address=<IP address> and port=<1..65535>";
    }

    reg->port = n;

    if (reg->check.len == 0 || ngx_strncmp(reg->check.data, "http", 4) != 0) {
        return "needs check=<http:// URL that Consul can reach>";
    }

    reg->interval = NGX_OPAY_CHECK_INTERVAL;

    if (interval.len) {
        n = ngx_parse_time(&interval, 0);

        if (n == NGX_ERROR || n < 100) {
            return "has an invalid interval";
        }

        reg->interval = n;
    }

    return ngx_opay_register_id(cf, reg);
}


static char *
ngx_opay_register_params(ngx_conf_t *cf, ngx_opay_register_t *reg,
    ngx_str_t *port, ngx_str_t *interval)
{
    size_t      n;
    ngx_str_t  *value, *out[6];
    ngx_uint_t  i, k;

    static const char  *names[] = {
        "name=", "address=", "check=", "id=", "port=", "interval="
    };

    out[0] = &reg->name;
    out[1] = &reg->address;
    out[2] = &reg->check;
    out[3] = &reg->id;
    out[4] = port;
    out[5] = interval;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (k = 0; k < 6; k++) {
            n = ngx_strlen(names[k]);

            if (value[i].len > n
                && ngx_strncmp(value[i].data, names[k], n) == 0)
            {
                break;
            }
        }

        if (k == 6 || out[k]->len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (ngx_opay_discovery_param(cf, &value[i], names[k], out[k])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* Stable over restarts, or a crash would leave a dead twin behind. */

static char *
ngx_opay_register_id(ngx_conf_t *cf, ngx_opay_register_t *reg)
{
    u_char                     *p;
    ngx_uint_t                  i;
    ngx_opay_register_t        *other;
    ngx_opay_discovery_conf_t  *dcf;

    dcf = ngx_http_conf_get_module_main_conf(cf, ngx_opay_discovery_module);

    if (reg->id.len == 0) {

        p = ngx_pnalloc(cf->pool, NGX_OPAY_ID_MAX);
        if (p == NULL) {
            return NGX_CONF_ERROR;
        }

        reg->id.data = p;
        p = ngx_slprintf(p, p + NGX_OPAY_ID_MAX - 1, "%V-%V-%ui",
                         &reg->name, &cf->cycle->hostname, reg->port);
        *p = '\0';
        reg->id.len = p - reg->id.data;
    }

    if (!ngx_opay_discovery_name(&reg->id, NGX_OPAY_ID_MAX)) {
        return "has an invalid id: letters, digits, \"-\", \"_\", \".\"";
    }

    other = dcf->registers.elts;

    for (i = 0; &other[i] != reg; i++) {
        if (other[i].id.len == reg->id.len
            && ngx_memcmp(other[i].id.data, reg->id.data, reg->id.len) == 0)
        {
            return "is duplicate";
        }
    }

    if (ngx_opay_discovery_need_zone(cf, dcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_opay_watch(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                   *rv;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_opay_peers_conf_t  *s;

    (void) cmd;
    (void) conf;

    value = cf->args->elts;

    s = ngx_opay_discovery_add(cf, &value[1]);
    if (s == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_opay_discovery_fallback(cf, s, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


/* The value of name=value, copied and ended by NUL. */

static char *
ngx_opay_discovery_param(ngx_conf_t *cf, ngx_str_t *value, const char *name,
    ngx_str_t *out)
{
    size_t  n;

    n = ngx_strlen(name);

    if (value->len <= n || ngx_strncmp(value->data, name, n) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    out->len = value->len - n;
    out->data = ngx_pnalloc(cf->pool, out->len + 1);
    if (out->data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(out->data, value->data + n, out->len + 1);

    return NGX_CONF_OK;
}


/* Names and ids go into URLs as they are. */

static ngx_uint_t
ngx_opay_discovery_name(ngx_str_t *name, size_t max)
{
    u_char      c;
    ngx_uint_t  i;

    if (name->len == 0 || name->len >= max) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
        {
            return 0;
        }
    }

    return 1;
}
