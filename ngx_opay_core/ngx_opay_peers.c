
/* The shared table of instances: see ngx_opay_peers.h. */

#include "ngx_opay_discovery.h"
#include "ngx_opay_core.h"


#define NGX_OPAY_EJECT      1000   /* ms after the first failure */
#define NGX_OPAY_EJECT_MAX  30000
#define NGX_OPAY_EJECT_LOG  5      /* doublings up to the maximum */


static ngx_opay_slot_t *ngx_opay_peers_find(ngx_opay_bank_t *bank,
    uint64_t id);
static ngx_opay_slot_t *ngx_opay_peers_best(ngx_opay_bank_t *bank,
    const uint64_t *tried, ngx_uint_t n, ngx_uint_t ejected);
static ngx_uint_t ngx_opay_peers_was_tried(uint64_t id,
    const uint64_t *tried, ngx_uint_t n);
static ngx_int_t ngx_opay_peers_path(ngx_str_t *dir, ngx_str_t *name,
    ngx_pid_t pid, u_char *path);


ngx_opay_peers_service_t *
ngx_opay_peers_row(ngx_opay_peers_sh_t *sh, ngx_str_t *name)
{
    ngx_uint_t                 i;
    ngx_opay_peers_service_t  *row, *empty;

    empty = NULL;

    for (i = 0; i < NGX_OPAY_SERVICES_MAX; i++) {
        row = &sh->services[i];

        if (row->len == name->len
            && ngx_memcmp(row->name, name->data, name->len) == 0)
        {
            return row;
        }

        if (row->len == 0 && empty == NULL) {
            empty = row;
        }
    }

    if (empty) {
        ngx_memcpy(empty->name, name->data, name->len);
        empty->len = name->len;
    }

    return empty;
}


void
ngx_opay_peers_publish(ngx_opay_peers_conf_t *s, const opay_peers_t *list,
    ngx_uint_t source)
{
    ngx_uint_t        i;
    ngx_opay_bank_t  *bank, *old;
    ngx_opay_slot_t  *slot, *known;

    ngx_shmtx_lock(&s->pool->mutex);

    old = &s->sh->banks[s->sh->bank];
    bank = &s->sh->banks[!s->sh->bank];

    for (i = 0; i < list->n; i++) {
        slot = &bank->slots[i];

        ngx_memzero(slot, sizeof(ngx_opay_slot_t));

        known = ngx_opay_peers_find(old, list->peers[i].id);
        if (known) {
            *slot = *known;
        }

        slot->peer = list->peers[i];
    }

    bank->n = list->n;
    bank->panic = opay_peers_panic(list);

    /* the bank is whole before it is used */
    ngx_memory_barrier();

    s->sh->bank = !s->sh->bank;
    s->sh->source = source;
    s->sh->changes++;

    ngx_shmtx_unlock(&s->pool->mutex);
}


ngx_uint_t
ngx_opay_peers_get(ngx_opay_peers_conf_t *s, opay_peers_t *list)
{
    ngx_uint_t        i, source;
    ngx_opay_bank_t  *bank;

    ngx_memzero(list, sizeof(opay_peers_t));

    ngx_shmtx_lock(&s->pool->mutex);

    bank = &s->sh->banks[s->sh->bank];
    source = s->sh->source;

    for (i = 0; i < bank->n; i++) {
        list->peers[i] = bank->slots[i].peer;
    }

    list->n = bank->n;

    ngx_shmtx_unlock(&s->pool->mutex);

    return source;
}


/*
 * Instances that failed lately are passed over while others are left; when
 * none is, a failed one is better than no answer.
 */

ngx_int_t
ngx_opay_peers_pick(ngx_opay_peers_conf_t *s, const uint64_t *tried,
    ngx_uint_t n, opay_peer_t *peer)
{
    ngx_opay_bank_t  *bank;
    ngx_opay_slot_t  *slot;

    ngx_shmtx_lock(&s->pool->mutex);

    bank = &s->sh->banks[s->sh->bank];

    slot = ngx_opay_peers_best(bank, tried, n, 0);

    if (slot == NULL) {
        slot = ngx_opay_peers_best(bank, tried, n, 1);
    }

    if (slot) {
        *peer = slot->peer;
    }

    ngx_shmtx_unlock(&s->pool->mutex);

    return slot ? NGX_OK : NGX_DECLINED;
}


/* Smooth weighted round robin, as nginx's own. */

static ngx_opay_slot_t *
ngx_opay_peers_best(ngx_opay_bank_t *bank, const uint64_t *tried,
    ngx_uint_t n, ngx_uint_t ejected)
{
    ngx_int_t         weight, total;
    ngx_uint_t        i;
    ngx_opay_slot_t  *slot, *best;

    best = NULL;
    total = 0;

    for (i = 0; i < bank->n; i++) {
        slot = &bank->slots[i];

        weight = opay_peer_weight(&slot->peer, bank->panic);

        if (weight == 0 || ngx_opay_peers_was_tried(slot->peer.id, tried, n)) {
            continue;
        }

        if (!ejected && slot->fails
            && (ngx_msec_int_t) (slot->until - ngx_current_msec) > 0)
        {
            continue;
        }

        slot->current += weight;
        total += weight;

        if (best == NULL || slot->current > best->current) {
            best = slot;
        }
    }

    if (best == NULL) {
        return NULL;
    }

    best->current -= total;

    /* one request at a time finds out whether a failed one is back */

    if (best->fails) {
        best->until = ngx_current_msec + NGX_OPAY_EJECT;
    }

    return best;
}


ngx_uint_t
ngx_opay_peers_count(ngx_opay_peers_conf_t *s)
{
    ngx_uint_t        i, n;
    ngx_opay_bank_t  *bank;

    n = 0;

    ngx_shmtx_lock(&s->pool->mutex);

    bank = &s->sh->banks[s->sh->bank];

    for (i = 0; i < bank->n; i++) {
        if (opay_peer_weight(&bank->slots[i].peer, bank->panic)) {
            n++;
        }
    }

    ngx_shmtx_unlock(&s->pool->mutex);

    return n;
}


void
ngx_opay_peers_report(ngx_opay_peers_conf_t *s, uint64_t id, ngx_uint_t ok)
{
    ngx_uint_t        n;
    ngx_opay_slot_t  *slot;

    ngx_shmtx_lock(&s->pool->mutex);

    slot = ngx_opay_peers_find(&s->sh->banks[s->sh->bank], id);

    if (slot && ok) {
        slot->fails = 0;

    } else if (slot) {
        n = ngx_min(slot->fails, NGX_OPAY_EJECT_LOG);

        slot->fails++;
        slot->until = ngx_current_msec
                      + ngx_min(NGX_OPAY_EJECT << n, NGX_OPAY_EJECT_MAX);
    }

    ngx_shmtx_unlock(&s->pool->mutex);
}


static ngx_opay_slot_t *
ngx_opay_peers_find(ngx_opay_bank_t *bank, uint64_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < bank->n; i++) {
        if (bank->slots[i].peer.id == id) {
            return &bank->slots[i];
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_opay_peers_was_tried(uint64_t id, const uint64_t *tried, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (tried[i] == id) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_opay_peer_pick(ngx_str_t *service, char *buf)
{
    ngx_uint_t                   i;
    opay_peer_t                  peer;
    ngx_opay_peers_conf_t      **s;
    ngx_opay_discovery_conf_t   *dcf;

    dcf = ngx_opay_discovery_conf((ngx_cycle_t *) ngx_cycle);

    if (dcf == NULL || dcf->sh == NULL) {
        return NGX_DECLINED;
    }

    s = dcf->services.elts;

    for (i = 0; i < dcf->services.nelts; i++) {

        if (s[i]->name.len != service->len
            || ngx_memcmp(s[i]->name.data, service->data, service->len) != 0)
        {
            continue;
        }

        if (ngx_opay_peers_pick(s[i], NULL, 0, &peer) != NGX_OK) {
            return NGX_DECLINED;
        }

        opay_peer_format(&peer, buf);

        return NGX_OK;
    }

    return NGX_DECLINED;
}


/*
 * No fsync(): the event loop would wait for the disk.  A copy torn by a crash
 * of the machine fails its checksum and counts as absent.
 */

void
ngx_opay_peers_dump(ngx_str_t *dir, ngx_opay_peers_conf_t *s,
    const opay_peers_t *list, ngx_log_t *log)
{
    char       text[OPAY_PEERS_TEXT_MAX];
    size_t     n;
    u_char     path[NGX_MAX_PATH], tmp[NGX_MAX_PATH];
    ngx_fd_t   fd;
    ngx_int_t  rc;

    if (dir->len == 0
        || ngx_opay_peers_path(dir, &s->name, 0, path) != NGX_OK
        || ngx_opay_peers_path(dir, &s->name, ngx_pid, tmp) != NGX_OK)
    {
        return;
    }

    n = opay_peers_save(list, opay_now_ms(), text, sizeof(text));

    fd = ngx_open_file(tmp, NGX_FILE_WRONLY, NGX_FILE_TRUNCATE, 0644);

    if (n == 0 || fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "opay: cannot write \"%s\" (opay_state_dir)", tmp);
        return;
    }

    rc = (ngx_write_fd(fd, text, n) == (ssize_t) n) ? NGX_OK : NGX_ERROR;

    if (ngx_close_file(fd) == NGX_FILE_ERROR || rc != NGX_OK
        || ngx_rename_file(tmp, path) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "opay: cannot write \"%s\" (opay_state_dir)", path);
    }
}


ngx_int_t
ngx_opay_peers_restore(ngx_str_t *dir, ngx_opay_peers_conf_t *s,
    opay_peers_t *list, ngx_log_t *log)
{
    char      text[OPAY_PEERS_TEXT_MAX];
    u_char    path[NGX_MAX_PATH];
    int64_t   when;
    ssize_t   n;
    ngx_fd_t  fd;

    if (dir->len == 0
        || ngx_opay_peers_path(dir, &s->name, 0, path) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    fd = ngx_open_file(path, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_ENOENT) {
            ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                          "opay: cannot read \"%s\"", path);
        }

        return NGX_DECLINED;
    }

    n = ngx_read_fd(fd, text, sizeof(text));

    (void) ngx_close_file(fd);

    if (n < 0 || opay_peers_load(list, &when, text, n) != OPAY_OK) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "opay: \"%s\" is damaged and was not used", path);
        return NGX_DECLINED;
    }

    return list->n ? NGX_OK : NGX_DECLINED;
}


/* Instances may share a directory: each writes its own file first. */

static ngx_int_t
ngx_opay_peers_path(ngx_str_t *dir, ngx_str_t *name, ngx_pid_t pid,
    u_char *path)
{
    u_char  *p, *last;

    last = path + NGX_MAX_PATH;

    if (pid) {
        p = ngx_slprintf(path, last, "%V/peers-%V.%P%Z", dir, name, pid);

    } else {
        p = ngx_slprintf(path, last, "%V/peers-%V%Z", dir, name);
    }

    return p == last ? NGX_ERROR : NGX_OK;
}
