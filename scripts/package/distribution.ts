import type { Architecture } from './macho.ts';
import { escapeXml } from './xar.ts';

/** The same name as the job's label and the managed preferences; it never changes, or an upgrade would leave two receipts. */
export const identifier = 'io.sparekey.agent';

export interface PackageFacts {
  version: string;
  title: string;
  /** The name of the component inside the archive; Installer keeps it in the receipt, as PackageFileName. */
  component: string;
  architectures: readonly Architecture[];
  minimumMacos: string;
  files: number;
  kilobytes: number;
}

export const packageInfo = ({ version, files, kilobytes }: PackageFacts): string => `<?xml version="1.0" encoding="utf-8"?>
<pkg-info format-version="2" identifier="${identifier}" version="${version}" install-location="/" auth="root" relocatable="false" overwrite-permissions="true" postinstall-action="none">
    <payload numberOfFiles="${files}" installKBytes="${kilobytes}"/>
    <bundle-version/>
    <upgrade-bundle/>
    <update-bundle/>
    <atomic-update-bundle/>
    <strict-identifier/>
    <relocate/>
    <scripts>
        <preinstall file="./preinstall"/>
        <postinstall file="./postinstall"/>
    </scripts>
</pkg-info>
`;

/**
 * Without arm64 among `hostArchitectures` macOS offers to install Rosetta on Apple silicon, for an Intel package; there the
 * preinstall script refuses. `#`: the component is inside this archive.
 */
export const distribution = (facts: PackageFacts): string => `<?xml version="1.0" encoding="utf-8"?>
<installer-gui-script minSpecVersion="2">
    <title>${escapeXml(facts.title)}</title>
    <options hostArchitectures="${facts.architectures.join(',')}" customize="never" require-scripts="false" rootVolumeOnly="true" allow-external-scripts="no"/>
    <volume-check>
        <allowed-os-versions>
            <os-version min="${facts.minimumMacos}"/>
        </allowed-os-versions>
    </volume-check>
    <choices-outline>
        <line choice="default">
            <line choice="${identifier}"/>
        </line>
    </choices-outline>
    <choice id="default"/>
    <choice id="${identifier}" visible="false">
        <pkg-ref id="${identifier}"/>
    </choice>
    <pkg-ref id="${identifier}" version="${facts.version}" onConclusion="none" installKBytes="${facts.kilobytes}" auth="root">#${encodeURIComponent(facts.component)}</pkg-ref>
    <product id="${identifier}" version="${facts.version}"/>
</installer-gui-script>
`;
