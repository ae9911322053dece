/// `pgtandem.heartbeat`: one row that the primary writes about once a second. What a standby reads in it is what clients read there.
enum HeartbeatTable {
    /// Makes the table with its rules where it is missing; else nothing. PostgreSQL 14 to 18. Repeated it changes nothing.
    ///
    /// Fixed settings, whatever the database's are: a table method without updates, or a table space on a slow disk, would be in the way.
    /// `ENABLE ALWAYS`: also where `session_replication_role` is `replica`.
    static let schema = """
        do $$ declare other record; begin
          perform set_config('default_table_access_method', 'heap', true), set_config('default_tablespace', '', true);
          if to_regclass('pgtandem.heartbeat') is null then
            create schema if not exists pgtandem;
            create table pgtandem.heartbeat (
              one boolean default true
                constraint pgtandem_heartbeat_is_one_row primary key
                constraint pgtandem_heartbeat_is_one_row_only check (one),
              node text not null, term numeric(20) not null, beat bigint not null, at timestamptz not null)
              with (fillfactor = 50, autovacuum_vacuum_threshold = 1000);
            comment on table pgtandem.heartbeat is
              'One row, written by the primary of this pair about once a second: select now() - at from pgtandem.heartbeat is the age of what is read here. Written by pgtandem, do not change.';
            create or replace function pgtandem.heartbeat_stays() returns trigger language plpgsql
            set search_path = pg_catalog, pg_temp as $body$
            begin
              raise exception 'pgtandem.heartbeat is one row, by which pgtandem tells the age of a standby''s data: it cannot be deleted'
                using errcode = 'restrict_violation', hint = 'Leave it out: where pgtandem runs, its agent writes the row again.';
            end $body$;
            create trigger heartbeat_stays before delete or truncate on pgtandem.heartbeat
              for each statement execute function pgtandem.heartbeat_stays();
            alter table pgtandem.heartbeat enable always trigger heartbeat_stays;
            -- Default privileges may have let others write.
            for other in select distinct a.grantee from pg_class c, aclexplode(c.relacl) a
              where c.oid = 'pgtandem.heartbeat'::regclass and a.grantee <> c.relowner
            loop
              execute format('revoke all on pgtandem.heartbeat from %s',
                case when other.grantee = 0 then 'public' else other.grantee::regrole::text end);
            end loop;
          end if;
          if not has_table_privilege('public', 'pgtandem.heartbeat', 'select') then
            grant usage on schema pgtandem to public;
            grant select on pgtandem.heartbeat to public;
          end if;
        end $$
        """

    /// Who owns something there and is no superuser; NULL: nobody. A trigger of such a one would run with the agent's rights.
    static let strangers = """
        select string_agg(distinct r.rolname, ', ') from pg_authid r where not r.rolsuper and r.oid in
          (select nspowner from pg_namespace where nspname = 'pgtandem'
           union all select relowner from pg_class where relnamespace = to_regnamespace('pgtandem')
           union all select proowner from pg_proc where pronamespace = to_regnamespace('pgtandem'))
        """

    /// Node, term, and the last beat known here ($3): the next one is above it and above what stands in the row, also where the table was
    /// dropped and made again.
    static let write = """
        insert into pgtandem.heartbeat as h (one, node, term, beat, at)
        values (true, $1, $2::numeric, $3::bigint + 1, clock_timestamp())
        on conflict (one) do update set node = excluded.node, term = excluded.term, beat = greatest(h.beat, $3::bigint) + 1,
          at = excluded.at
        returning beat, 0
        """

    /// The beat, and what monitoring makes of it: milliseconds by this host's wall clock.
    static let read = "select beat, (extract(epoch from clock_timestamp() - at) * 1000)::bigint from pgtandem.heartbeat"

    /// Of the session that does so: it waits for nobody (`hazards.md` H63), whatever database and role are set to, and what it meets is told in
    /// `pgtandem status` instead of once a second in the server's log.
    static func settings(lockMilliseconds: Int64) -> String {
        """
        set synchronous_commit = local; set lock_timeout = \(lockMilliseconds);
        set default_transaction_read_only = off; set default_transaction_isolation = 'read committed';
        set session_replication_role = origin; set client_min_messages = warning;
        set log_min_messages = fatal; set log_min_error_statement = panic
        """
    }
}
