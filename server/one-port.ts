import type { ServerSettings } from './settings.ts';

/** Whether both listeners have one address: then there is one port, and the name decides. */
export const sharesPort = ({ listen, people, proxy }: Pick<ServerSettings, 'listen' | 'people' | 'proxy'>): boolean =>
  people !== null && people.listen.port === listen.port && people.listen.host === listen.host && !proxy?.plain;
