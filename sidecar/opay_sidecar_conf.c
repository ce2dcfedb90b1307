
/*
 * opay_sidecar_conf: the configuration file, "key = value" lines.
 *
 * DESIGN
 *
 * One table row per key: its type, where it goes, its default.  Each value
 * is checked when its line is read, so an error can name file, line and key;
 * what only the whole can tell (a missing key) is checked at the end.  All
 * strings live in the configuration's arena until the process ends.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>

#include "opay_sidecar.h"


typedef struct opay_key_s     opay_key_t;
typedef struct opay_reader_s  opay_reader_t;

/* value may be written to */
typedef int (*opay_key_pt)(opay_reader_t *rd, const opay_key_t *key,
    char *value);


struct opay_key_s {
    const char           *name;
    opay_key_pt           set;
    size_t                offset;
    const char           *def;             /* NULL: none */
    int                   required;
    int64_t               min;             /* ms */
};


struct opay_reader_s {
    opay_sidecar_conf_t  *conf;
    const char           *file;
    unsigned              line;
    char                 *err;
    size_t                size;
};


static int opay_conf_keep(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_name(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_secret(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_readable(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_ms(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_port(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_addr(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_topics(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_url(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_level(opay_reader_t *rd, const opay_key_t *key,
    char *value);
static int opay_conf_format(opay_reader_t *rd, const opay_key_t *key,
    char *value);


#define opay_key_at(f)  offsetof(opay_sidecar_conf_t, f)

static const opay_key_t  opay_keys[] = {
    { "service", opay_conf_name, opay_key_at(service), NULL, 1, 0 },
    { "db_socket", opay_conf_keep, opay_key_at(db.socket), NULL, 0, 0 },
    { "db_host", opay_conf_keep, opay_key_at(db.host), NULL, 0, 0 },
    { "db_port", opay_conf_port, opay_key_at(db_port), "3306", 0, 0 },
    { "db_user", opay_conf_keep, opay_key_at(db.user), NULL, 1, 0 },
    { "db_password_file", opay_conf_secret, opay_key_at(db.password), NULL,
      1, 0 },
    { "db_name", opay_conf_keep, opay_key_at(db.database), NULL, 1, 0 },
    { "db_timeout", opay_conf_ms, opay_key_at(db_timeout), "5s", 0, 2000 },
    { "db_connect_timeout", opay_conf_ms, opay_key_at(db_connect_timeout),
      "2s", 0, 1000 },
    { "kafka_bootstrap", opay_conf_keep, opay_key_at(bootstrap), NULL, 1, 0 },
    { "notify_socket", opay_conf_keep, opay_key_at(notify_socket), NULL, 0, 0 },
    { "poll_interval", opay_conf_ms, opay_key_at(poll_interval), "1s", 0, 1 },
    { "checkpoint_interval", opay_conf_ms, opay_key_at(checkpoint_interval),
      "100ms", 0, 0 },
    { "max_gap_age", opay_conf_ms, opay_key_at(max_gap_age), "60s", 0, 1 },
    { "topics", opay_conf_topics, opay_key_at(topics), NULL, 0, 0 },
    { "group", opay_conf_keep, opay_key_at(group), NULL, 0, 0 },
    { "instance_id", opay_conf_keep, opay_key_at(instance_id), NULL, 0, 0 },
    { "dlt_suffix", opay_conf_keep, opay_key_at(dlt_suffix), ".dlt", 0, 0 },
    { "fetch_wait", opay_conf_ms, opay_key_at(fetch_wait), "100ms", 0, 1 },
    { "session_timeout", opay_conf_ms, opay_key_at(session_timeout), "6s",
      0, 1000 },
    { "deliver_timeout", opay_conf_ms, opay_key_at(deliver_timeout), "10s",
      0, 100 },
    { "retry_min", opay_conf_ms, opay_key_at(retry_min), "100ms", 0, 1 },
    { "retry_max", opay_conf_ms, opay_key_at(retry_max), "5s", 0, 1 },
    { "park_retry_min", opay_conf_ms, opay_key_at(park_retry_min), "1s",
      0, 1 },
    { "park_retry_max", opay_conf_ms, opay_key_at(park_retry_max), "5m",
      0, 1 },
    { "consul_url", opay_conf_url, opay_key_at(consul_url), NULL, 0, 0 },
    { "consul_token_file", opay_conf_readable,
      opay_key_at(consul_token_file), NULL, 0, 0 },
    { "target", opay_conf_addr, opay_key_at(target), NULL, 0, 0 },
    { "tls_ca", opay_conf_readable, opay_key_at(tls_ca), NULL, 0, 0 },
    { "tls_cert", opay_conf_readable, opay_key_at(tls_cert), NULL, 0, 0 },
    { "tls_key", opay_conf_readable, opay_key_at(tls_key), NULL, 0, 0 },
    { "status_listen", opay_conf_addr, opay_key_at(status_listen), NULL,
      1, 0 },
    { "shutdown_timeout", opay_conf_ms, opay_key_at(shutdown_timeout), "15s",
      0, 1000 },
    { "log_level", opay_conf_level, opay_key_at(log_level), "notice", 0, 0 },
    { "log_format", opay_conf_format, opay_key_at(log_format), "text", 0, 0 },
};

#define OPAY_NKEYS  (sizeof(opay_keys) / sizeof(opay_keys[0]))


static int opay_conf_fail(opay_reader_t *rd, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


static int
opay_conf_fail(opay_reader_t *rd, const char *fmt, ...)
{
    char     text[512];
    va_list  args;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    if (rd->line) {
        (void) snprintf(rd->err, rd->size, "%s:%u: %s", rd->file, rd->line,
                        text);
    } else {
        (void) snprintf(rd->err, rd->size, "%s: %s", rd->file, text);
    }

    return OPAY_ERROR;
}


static const char **
opay_conf_slot(opay_reader_t *rd, const opay_key_t *key)
{
    return (const char **) ((char *) rd->conf + key->offset);
}


static int64_t *
opay_conf_num(opay_reader_t *rd, const opay_key_t *key)
{
    return (int64_t *) ((char *) rd->conf + key->offset);
}


static int
opay_conf_keep(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    const char  *s;

    s = opay_arena_strdup(rd->conf->arena, value);
    if (s == NULL) {
        return opay_conf_fail(rd, "out of memory");
    }

    *opay_conf_slot(rd, key) = s;

    return OPAY_OK;
}


static int
opay_conf_name(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    size_t  n;

    n = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_-");

    if (n == 0 || value[n] != '\0' || n > 31) {
        return opay_conf_fail(rd, "invalid value \"%s\" of \"%s\": lower "
                              "case letters, digits, \"_\" and \"-\" only",
                              value, key->name);
    }

    return opay_conf_keep(rd, key, value);
}


static int
opay_conf_secret(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    int      fd;
    char     buf[1024];
    ssize_t  n;

    fd = open(value, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return opay_conf_fail(rd, "cannot read the file of \"%s\" (%s): %s",
                              key->name, value, strerror(errno));
    }

    n = read(fd, buf, sizeof(buf) - 1);
    (void) close(fd);

    if (n < 0 || (size_t) n == sizeof(buf) - 1) {
        return opay_conf_fail(rd, "the file of \"%s\" (%s) is not readable "
                              "or too long", key->name, value);
    }

    buf[n] = '\0';
    buf[strcspn(buf, "\r\n")] = '\0';

    if (buf[0] == '\0') {
        return opay_conf_fail(rd, "the file of \"%s\" (%s) is empty",
                              key->name, value);
    }

    return opay_conf_keep(rd, key, buf);
}


static int
opay_conf_readable(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    if (access(value, R_OK) != 0) {
        return opay_conf_fail(rd, "cannot read the file of \"%s\" (%s): %s",
                              key->name, value, strerror(errno));
    }

    return opay_conf_keep(rd, key, value);
}


static int
opay_conf_ms(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    char     *end;
    int64_t   v, unit;

    errno = 0;
    v = strtoll(value, &end, 10);

    unit = strcmp(end, "ms") == 0 ? 1
           : strcmp(end, "s") == 0 ? 1000
           : strcmp(end, "m") == 0 ? 60000 : 0;

    if (!isdigit((unsigned char) value[0]) || errno || unit == 0
        || v > 86400000)
    {
        return opay_conf_fail(rd, "invalid value \"%s\" of \"%s\": a time "
                              "like 250ms, 5s or 2m", value, key->name);
    }

    v *= unit;

    if (v < key->min || v > 86400000) {
        return opay_conf_fail(rd, "value \"%s\" of \"%s\" is out of range: "
                              "%lldms to 1440m", value, key->name,
                              (long long) key->min);
    }

    *opay_conf_num(rd, key) = v;

    return OPAY_OK;
}


static int
opay_conf_port(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    long   v;
    char  *end;

    v = strtol(value, &end, 10);

    if (!isdigit((unsigned char) value[0]) || *end != '\0' || v < 1
        || v > 65535)
    {
        return opay_conf_fail(rd, "invalid port \"%s\" of \"%s\"", value,
                              key->name);
    }

    *opay_conf_num(rd, key) = v;

    return OPAY_OK;
}


static int
opay_conf_addr(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    long                 port;
    char                 host[64], *end;
    const char          *colon;
    struct sockaddr_in   sin;

    colon = strrchr(value, ':');
    memset(&sin, 0, sizeof(sin));

    if (colon == NULL || (size_t) (colon - value) >= sizeof(host)) {
        goto invalid;
    }

    memcpy(host, value, (size_t) (colon - value));
    host[colon - value] = '\0';
    port = strtol(colon + 1, &end, 10);

    if (inet_pton(AF_INET, host, &sin.sin_addr) != 1
        || !isdigit((unsigned char) colon[1]) || *end != '\0' || port < 1
        || port > 65535)
    {
        goto invalid;
    }

    if (key->offset == opay_key_at(status_listen)) {
        sin.sin_family = AF_INET;
        sin.sin_port = htons((uint16_t) port);
        rd->conf->status_addr = sin;
    }

    return opay_conf_keep(rd, key, value);

invalid:

    return opay_conf_fail(rd, "invalid address \"%s\" of \"%s\": an IPv4 "
                          "address and a port, like 127.0.0.1:9193", value,
                          key->name);
}


static int
opay_conf_topics(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    char        *topic, *save;
    const char  *kept;

    for (topic = strtok_r(value, " ,\t", &save); topic;
         topic = strtok_r(NULL, " ,\t", &save))
    {
        if (rd->conf->ntopics == OPAY_SIDECAR_TOPICS) {
            return opay_conf_fail(rd, "more than %d \"%s\"",
                                  OPAY_SIDECAR_TOPICS, key->name);
        }

        if (strspn(topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU"
                          "VWXYZ0123456789._-") != strlen(topic)
            || strlen(topic) > 100)
        {
            return opay_conf_fail(rd, "invalid topic \"%s\" of \"%s\"",
                                  topic, key->name);
        }

        kept = opay_arena_strdup(rd->conf->arena, topic);
        if (kept == NULL) {
            return opay_conf_fail(rd, "out of memory");
        }

        rd->conf->topics[rd->conf->ntopics++] = kept;
    }

    return OPAY_OK;
}


static int
opay_conf_url(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    if (strncmp(value, "http://", 7) != 0
        && strncmp(value, "https://", 8) != 0)
    {
        return opay_conf_fail(rd, "invalid value \"%s\" of \"%s\": "
                              "http://host:port", value, key->name);
    }

    return opay_conf_keep(rd, key, value);
}


static int
opay_conf_format(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    rd->conf->json = strcmp(value, "json") == 0;

    if (!rd->conf->json && strcmp(value, "text") != 0) {
        return opay_conf_fail(rd, "invalid value \"%s\" of \"%s\": text or "
                              "json", value, key->name);
    }

    return opay_conf_keep(rd, key, value);
}


static int
opay_conf_level(opay_reader_t *rd, const opay_key_t *key, char *value)
{
    size_t                    i;
    static const char *const  levels[] = { "alert", "error", "warn",
                                           "notice", "info", "debug" };

    for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(value, levels[i]) == 0) {
            rd->conf->level = (opay_log_level_e) i;
            return opay_conf_keep(rd, key, value);
        }
    }

    return opay_conf_fail(rd, "invalid value \"%s\" of \"%s\": alert, error, "
                          "warn, notice, info or debug", value, key->name);
}


/* kafka.<property>: handed to librdkafka, which knows them all */
static int
opay_conf_prop(opay_reader_t *rd, const char *name, const char *value)
{
    char                  err[256];
    opay_sidecar_prop_t  *prop;

    if (rd->conf->nprops == OPAY_SIDECAR_PROPS) {
        return opay_conf_fail(rd, "more than %d \"kafka.\" properties",
                              OPAY_SIDECAR_PROPS);
    }

    if (opay_kafka_prop_check(name, value, err, sizeof(err)) != OPAY_OK) {
        return opay_conf_fail(rd, "\"kafka.%s\": %s", name, err);
    }

    prop = &rd->conf->props[rd->conf->nprops++];
    prop->name = opay_arena_strdup(rd->conf->arena, name);
    prop->value = opay_arena_strdup(rd->conf->arena, value);

    if (prop->name == NULL || prop->value == NULL) {
        return opay_conf_fail(rd, "out of memory");
    }

    return OPAY_OK;
}


static char *
opay_conf_trim(char *s)
{
    char  *end;

    while (*s == ' ' || *s == '\t') {
        s++;
    }

    end = s + strlen(s);

    while (end > s && isspace((unsigned char) end[-1])) {
        *--end = '\0';
    }

    return s;
}


static int
opay_conf_line(opay_reader_t *rd, char *line, unsigned *seen)
{
    char    *name, *value, *eq;
    size_t   i;

    name = opay_conf_trim(line);

    if (*name == '\0' || *name == '#') {
        return OPAY_OK;
    }

    eq = strchr(name, '=');
    if (eq == NULL) {
        return opay_conf_fail(rd, "\"key = value\" is expected");
    }

    *eq = '\0';
    name = opay_conf_trim(name);
    value = opay_conf_trim(eq + 1);

    if (strncmp(name, "kafka.", 6) == 0) {
        return opay_conf_prop(rd, name + 6, value);
    }

    for (i = 0; i < OPAY_NKEYS; i++) {
        if (strcmp(name, opay_keys[i].name) == 0) {
            break;
        }
    }

    if (i == OPAY_NKEYS) {
        return opay_conf_fail(rd, "unknown key \"%s\"", name);
    }

    if (seen[i]) {
        return opay_conf_fail(rd, "\"%s\" is duplicate, first in line %u",
                              name, seen[i]);
    }

    /* an empty list of topics means: publish only */
    if (*value == '\0' && opay_keys[i].set != opay_conf_topics) {
        return opay_conf_fail(rd, "\"%s\" has no value", name);
    }

    seen[i] = rd->line;

    return opay_keys[i].set(rd, &opay_keys[i], value);
}


static int
opay_conf_lines(opay_reader_t *rd, FILE *f, unsigned *seen)
{
    char  line[2048];

    while (fgets(line, sizeof(line), f)) {
        rd->line++;

        if (strlen(line) == sizeof(line) - 1) {
            return opay_conf_fail(rd, "the line is too long");
        }

        if (opay_conf_line(rd, line, seen) != OPAY_OK) {
            return OPAY_ERROR;
        }
    }

    rd->line = 0;

    if (ferror(f)) {
        return opay_conf_fail(rd, "cannot read: %s", strerror(errno));
    }

    return OPAY_OK;
}


static int
opay_conf_defaults(opay_reader_t *rd, const unsigned *seen)
{
    char    value[64];
    size_t  i;

    for (i = 0; i < OPAY_NKEYS; i++) {
        if (seen[i]) {
            continue;
        }

        if (opay_keys[i].required) {
            return opay_conf_fail(rd, "\"%s\" is missing",
                                  opay_keys[i].name);
        }

        if (opay_keys[i].def == NULL) {
            continue;
        }

        (void) snprintf(value, sizeof(value), "%s", opay_keys[i].def);

        if (opay_keys[i].set(rd, &opay_keys[i], value) != OPAY_OK) {
            return OPAY_ERROR;
        }
    }

    return OPAY_OK;
}


/* What no single line can tell. */
static int
opay_conf_whole(opay_reader_t *rd)
{
    opay_str_t            s;
    opay_sidecar_conf_t  *conf;

    conf = rd->conf;

    if ((conf->db.socket == NULL) == (conf->db.host == NULL)) {
        return opay_conf_fail(rd, "one of \"db_socket\" and \"db_host\" is "
                              "needed");
    }

    conf->db.port = (unsigned) conf->db_port;
    conf->db.timeout = (unsigned) conf->db_timeout;
    conf->db.connect_timeout = (unsigned) conf->db_connect_timeout;
    conf->db.lock_timeout = 1;

    if (conf->ntopics == 0) {
        return OPAY_OK;
    }

    if (conf->consul_url == NULL && conf->target == NULL) {
        return opay_conf_fail(rd, "\"topics\" needs \"consul_url\" or "
                              "\"target\": where to deliver events to");
    }

    if (conf->tls_ca == NULL || conf->tls_cert == NULL
        || conf->tls_key == NULL)
    {
        return opay_conf_fail(rd, "\"topics\" needs \"tls_ca\", \"tls_cert\" "
                              "and \"tls_key\"");
    }

    if (conf->group == NULL) {
        s = opay_arena_printf(conf->arena, "opay-%s", conf->service);
        if (s.data == NULL) {
            return opay_conf_fail(rd, "out of memory");
        }

        conf->group = s.data;
    }

    return OPAY_OK;
}


static opay_sidecar_conf_t *
opay_conf_create(const char *file)
{
    opay_arena_t         *arena;
    opay_sidecar_conf_t  *conf;

    arena = opay_arena_create(4096);
    if (arena == NULL) {
        return NULL;
    }

    conf = opay_arena_zalloc(arena, sizeof(opay_sidecar_conf_t));
    if (conf == NULL) {
        opay_arena_destroy(arena);
        return NULL;
    }

    conf->arena = arena;
    conf->file = opay_arena_strdup(arena, file);

    return conf;
}


opay_sidecar_conf_t *
opay_sidecar_conf_read(const char *file, char *err, size_t size)
{
    int            rc;
    FILE          *f;
    unsigned       seen[OPAY_NKEYS] = { 0 };
    opay_reader_t  rd;

    memset(&rd, 0, sizeof(rd));
    rd.file = file;
    rd.err = err;
    rd.size = size;

    f = fopen(file, "re");
    if (f == NULL) {
        (void) opay_conf_fail(&rd, "cannot open: %s", strerror(errno));
        return NULL;
    }

    rd.conf = opay_conf_create(file);
    if (rd.conf == NULL) {
        (void) fclose(f);
        (void) opay_conf_fail(&rd, "out of memory");
        return NULL;
    }

    rc = opay_conf_lines(&rd, f, seen);
    (void) fclose(f);

    if (rc != OPAY_OK
        || opay_conf_defaults(&rd, seen) != OPAY_OK
        || opay_conf_whole(&rd) != OPAY_OK)
    {
        opay_sidecar_conf_free(rd.conf);
        return NULL;
    }

    return rd.conf;
}


void
opay_sidecar_conf_free(opay_sidecar_conf_t *conf)
{
    opay_arena_destroy(conf->arena);
}
