import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.qpid.server.SystemLauncher;

// Apache Qpid Broker-J on a port, with everything in memory and open to everybody. Queues are
// made when they are first used.
public class Qpid {
  static final String CONFIG = """
      {"name": "test", "modelVersion": "9.0",
       "authenticationproviders": [{"name": "anonymous", "type": "Anonymous"}],
       "ports": [{"name": "AMQP", "port": "PORT", "authenticationProvider": "anonymous", "protocols": ["AMQP_1_0"],
         "virtualhostaliases": [{"name": "default", "type": "defaultAlias"}, {"name": "host", "type": "hostnameAlias"}]}],
       "virtualhostnodes": [{"name": "default", "type": "Memory", "defaultVirtualHostNode": "true",
         "virtualHostInitialConfiguration": "{\\"type\\": \\"Memory\\", \\"nodeAutoCreationPolicies\\": [{\\"pattern\\": \\".*\\",\
       \\"createdOnPublish\\": \\"true\\", \\"createdOnConsume\\": \\"true\\", \\"nodeType\\": \\"queue\\", \\"attributes\\": {}}]}"}]}
      """;

  public static void main(String[] args) throws Exception {
    Path config = Path.of(args[1], "config.json");
    Files.writeString(config, CONFIG.replace("PORT", args[0]));
    Map<String, Object> attributes = new HashMap<>();
    attributes.put("type", "Memory");
    attributes.put("initialConfigurationLocation", config.toUri().toURL().toExternalForm());
    new SystemLauncher().startup(attributes);
    System.out.println("ready");
    System.in.read(); // until the test ends
    System.exit(0);
  }
}
