// pmset. The first line of `-g batt` and the line of capabilities in `-g systemstate` are read by many scripts; in dark wake
// the capabilities lack Graphics. Modelled: the estimates behind the percentage.
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

export const pmset = ({ state: { power, darkWake } }: Asked, args: readonly string[]): Outcome => {
  switch (args.join(' ')) {
    case '-g batt': {
      const mains = power.source === 'mains';
      const condition = mains ? (power.percent >= 100 ? 'charged; 0:00 remaining' : 'charging; 1:07 remaining') : 'discharging; 4:20 remaining';
      return says(`Now drawing from '${mains ? 'AC' : 'Battery'} Power'\n -InternalBattery-0 (id=22282339)\t${power.percent}%; ${condition} present: true\n`);
    }
    case '-g systemstate':
      return says(`Current System Capabilities are: CPU ${darkWake ? '' : 'Graphics Audio '}Network \nCurrent Power State: 4\n`);
    default:
      return hasNo('/usr/bin/pmset', args);
  }
};
