/** A PostgreSQL server of the tests' own. */
export interface PostgresServer {
  /** The folder of its socket. */
  socket: string;
  data: string;
  start(): void;
  stop(mode?: 'fast' | 'immediate'): unknown;
  end(): void;
}
export function startPostgres(more?: Readonly<Record<string, string>>): PostgresServer;
