
/*
 * The table of routes; written while the configuration is read and constant
 * afterwards.
 */

#include "ngx_opay_gateway.h"

#include "opay_path.h"


typedef struct {
    ngx_str_t             name;
    ngx_uint_t            method;
} ngx_opay_gateway_method_t;


static char *ngx_opay_gateway_check_path(ngx_str_t *path);
static ngx_uint_t ngx_opay_gateway_same_path(opay_str_t a, opay_str_t b);
static ngx_opay_gateway_route_t *ngx_opay_gateway_add(ngx_conf_t *cf,
    ngx_opay_gateway_conf_t *gcf, ngx_str_t *path);
static char *ngx_opay_gateway_add_methods(ngx_conf_t *cf,
    ngx_opay_gateway_route_t *route, ngx_str_t *methods,
    ngx_opay_access_e access);


static ngx_opay_gateway_method_t  ngx_opay_gateway_methods[] = {
    { ngx_string("GET"), NGX_HTTP_GET },
    { ngx_string("POST"), NGX_HTTP_POST },
    { ngx_string("PUT"), NGX_HTTP_PUT },
    { ngx_string("DELETE"), NGX_HTTP_DELETE },
    { ngx_string("PATCH"), NGX_HTTP_PATCH },
    { ngx_string("OPTIONS"), NGX_HTTP_OPTIONS },
    { ngx_string("HEAD"), NGX_HTTP_HEAD }
};


char *
ngx_opay_gateway_route(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_gateway_conf_t  *gcf = conf;

    char                      *rv;
    ngx_str_t                 *value;
    ngx_opay_access_e          access;
    ngx_opay_gateway_route_t  *route;

    (void) cmd;

    value = cf->args->elts;

    if (ngx_strcmp(value[3].data, "public") == 0) {
        access = NGX_OPAY_PUBLIC;

    } else if (ngx_strcmp(value[3].data, "user") == 0) {
        access = NGX_OPAY_USER;

    } else if (ngx_strcmp(value[3].data, "admin") == 0) {
        access = NGX_OPAY_ADMIN;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid role \"%V\", it must be \"public\", "
                           "\"user\" or \"admin\"", &value[3]);
        return NGX_CONF_ERROR;
    }

    rv = ngx_opay_gateway_check_path(&value[2]);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    route = ngx_opay_gateway_add(cf, gcf, &value[2]);
    if (route == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_opay_gateway_add_methods(cf, route, &value[1], access);
}


/* What could never match is a mistake. */

static char *
ngx_opay_gateway_check_path(ngx_str_t *path)
{
    u_char      *p, *last, *start;
    ngx_uint_t   open, close;

    if (path->len == 0 || path->data[0] != '/') {
        return "needs a path that starts with \"/\"";
    }

    if (path->len == 1) {
        return NGX_CONF_OK;
    }

    last = path->data + path->len;
    p = path->data;

    while (p < last) {

        start = ++p;
        open = 0;
        close = 0;

        for ( /* void */ ; p < last && *p != '/'; p++) {

            if (*p <= ' ' || *p >= 0x7f || *p == '?' || *p == '#'
                || *p == '%')
            {
                return "has a path with a character that no decoded path "
                       "needs";
            }

            open += (*p == '{');
            close += (*p == '}');
        }

        if (p == start
            || (p - start == 1 && *start == '.')
            || (p - start == 2 && start[0] == '.' && start[1] == '.'))
        {
            return "has a path with an empty or dot segment";
        }

        if ((open || close)
            && !(open == 1 && close == 1 && *start == '{' && p[-1] == '}'
                 && p - start > 2))
        {
            return "has a path whose {name} is not a whole segment";
        }
    }

    return NGX_CONF_OK;
}


static ngx_opay_gateway_route_t *
ngx_opay_gateway_add(ngx_conf_t *cf, ngx_opay_gateway_conf_t *gcf,
    ngx_str_t *path)
{
    ngx_uint_t                 i;
    opay_str_t                 p;
    ngx_opay_gateway_route_t  *route;

    p.data = (char *) path->data;
    p.len = path->len;

    if (gcf->routes == NULL) {
        gcf->routes = ngx_array_create(cf->pool, 32,
                                       sizeof(ngx_opay_gateway_route_t));
        if (gcf->routes == NULL) {
            return NULL;
        }
    }

    route = gcf->routes->elts;

    for (i = 0; i < gcf->routes->nelts; i++) {
        if (ngx_opay_gateway_same_path(route[i].path, p)) {
            return &route[i];
        }
    }

    route = ngx_array_push(gcf->routes);
    if (route == NULL) {
        return NULL;
    }

    ngx_memzero(route, sizeof(ngx_opay_gateway_route_t));
    route->path = p;

    for (i = 0; i < NGX_OPAY_METHODS; i++) {
        route->series[i] = NGX_ERROR;
    }

    return route;
}


/* The names of parameters make no difference. */

static ngx_uint_t
ngx_opay_gateway_same_path(opay_str_t a, opay_str_t b)
{
    size_t  i, j;

    for (i = 0, j = 0; i < a.len && j < b.len; i++, j++) {

        if (a.data[i] != b.data[j]) {
            return 0;
        }

        if (a.data[i] == '{') {
            while (a.data[i] != '}') { i++; }
            while (b.data[j] != '}') { j++; }
        }
    }

    return i == a.len && j == b.len;
}


static char *
ngx_opay_gateway_add_methods(ngx_conf_t *cf, ngx_opay_gateway_route_t *route,
    ngx_str_t *methods, ngx_opay_access_e access)
{
    u_char      *p, *last, *start;
    char        *path;
    ngx_str_t    name;
    ngx_uint_t   i;

    path = ngx_pnalloc(cf->pool, route->path.len + 1);
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn((u_char *) path, (u_char *) route->path.data,
                route->path.len + 1);

    p = methods->data;
    last = p + methods->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == ',')) {
            p++;
        }

        for (start = p; p < last && *p != ' ' && *p != ','; p++) {
            /* void */
        }

        name.data = start;
        name.len = p - start;

        if (name.len == 0) {
            break;
        }

        /* HEAD comes with GET */

        for (i = 0; i < NGX_OPAY_METHODS - 1; i++) {
            if (ngx_opay_gateway_methods[i].name.len == name.len
                && ngx_strncmp(ngx_opay_gateway_methods[i].name.data,
                               name.data, name.len)
                   == 0)
            {
                break;
            }
        }

        if (i == NGX_OPAY_METHODS - 1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid method \"%V\"", &name);
            return NGX_CONF_ERROR;
        }

        if (route->methods & ngx_opay_gateway_methods[i].method) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "method \"%V\" of \"%s\" has a route already",
                               &name, path);
            return NGX_CONF_ERROR;
        }

        route->methods |= ngx_opay_gateway_methods[i].method;
        route->access[i] = access;
        route->series[i] = ngx_opay_metrics_series(cf, "gateway",
                            (char *) ngx_opay_gateway_methods[i].name.data,
                            path);

        if (route->series[i] == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }
    }

    if (route->methods == 0) {
        return "needs a method";
    }

    if (route->methods & NGX_HTTP_GET) {
        route->methods |= NGX_HTTP_HEAD;
    }

    return NGX_CONF_OK;
}


ngx_opay_gateway_route_t *
ngx_opay_gateway_find(ngx_array_t *routes, ngx_str_t *path,
    ngx_uint_t method, ngx_uint_t *allowed)
{
    ngx_uint_t                 i;
    opay_str_t                 p, values[OPAY_CALL_PARAMS];
    ngx_opay_gateway_route_t  *route, *best;

    p.data = (char *) path->data;
    p.len = path->len;

    *allowed = 0;
    best = NULL;
    route = routes->elts;

    for (i = 0; i < routes->nelts; i++) {

        if (opay_path_match(route[i].path, p, values, OPAY_CALL_PARAMS)
            != OPAY_OK)
        {
            continue;
        }

        *allowed |= route[i].methods;

        if ((route[i].methods & method)
            && (best == NULL
                || opay_path_more_specific(route[i].path, best->path)))
        {
            best = &route[i];
        }
    }

    return best;
}


ngx_int_t
ngx_opay_gateway_method(ngx_uint_t method)
{
    ngx_uint_t  i;

    if (method == NGX_HTTP_HEAD) {
        return 0;
    }

    for (i = 0; i < NGX_OPAY_METHODS; i++) {
        if (ngx_opay_gateway_methods[i].method == method) {
            return i;
        }
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_opay_gateway_allow(ngx_http_request_t *r, ngx_uint_t methods)
{
    size_t       len;
    u_char      *p, *start;
    ngx_uint_t   i;

    len = 0;

    for (i = 0; i < NGX_OPAY_METHODS; i++) {
        len += ngx_opay_gateway_methods[i].name.len + 2;
    }

    start = ngx_pnalloc(r->pool, len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = start;

    for (i = 0; i < NGX_OPAY_METHODS; i++) {
        if (methods & ngx_opay_gateway_methods[i].method) {
            p = ngx_sprintf(p, "%s%V", p == start ? "" : ", ",
                            &ngx_opay_gateway_methods[i].name);
        }
    }

    return ngx_opay_header_out(r, "Allow", 5, (char *) start, p - start);
}
